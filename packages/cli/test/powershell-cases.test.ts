// PowerShell's cases that are about what is typed and what is shown. Where errand differs on purpose the title says so, and
// docs/POWERSHELL.md why.
import { describe, expect, test } from 'vitest'
import { powershellJobTable } from '../src/render/job.ts'
import { powershellSessionTable } from '../src/render/session.ts'
import { FakeJob, FakePeer, FakeSession } from './fake-peer.ts'
import { errand, Running } from './harness.ts'

/** Where each column of PowerShell's tables begins. */
const columns = (text: string): [string, number][] => {
  const [head = ''] = text.split('\n')
  return [...head.matchAll(/\S+/g)].map((match) => [match[0], match.index])
}

describe('what is typed', () => {
  test('S18 names of cmdlets and parameters in any case', async () => {
    const peer = new FakePeer().knows('server01')
    const { code } = await errand(['INVOKE-command', '-computername', 'server01', '-SCRIPTBLOCK', '{ 1 }', '-asjob'], {
      peer,
    })
    expect([code, peer.table[0]?.children[0]?.location]).toEqual([0, 'server01'])
  })

  test('S52 -command is -scriptblock, and -cn is -computername', async () => {
    const lines = [
      ['icm', '-cn', 'server01', '-command', '{ 1 + 1 }', '-AsJob'],
      ['icm', '-computername', 'server01', '-scriptblock', '{ 1 + 1 }', '-AsJob'],
    ]
    const started = await Promise.all(
      lines.map(async (line) => {
        const peer = new FakePeer().knows('server01')
        expect((await errand(line, { peer })).code).toBe(0)
        return [peer.table[0]?.command, peer.table[0]?.children[0]?.location]
      }),
    )
    expect(started).toEqual([
      ['1 + 1', 'server01'],
      ['1 + 1', 'server01'],
    ])
  })

  test.each([
    ['P21 differs: a process of 32 bits', ['Start-Job', '-RunAs32', '-ScriptBlock', '{ 1 }']],
    ['P22 differs: another version', ['Start-Job', '-PSVersion', '2.0', '-ScriptBlock', '{ 1 }']],
    ['P93 differs: what to do about errors', ['Start-Job', '-ErrorAction', 'Stop', '-ScriptBlock', '{ 1 }']],
  ])('%s is no parameter here: refused as any unknown one, and nothing starts', async (_, line) => {
    const peer = new FakePeer()
    const { code, out, err } = await errand(line, { peer })
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain(line[1])
    expect(peer.table).toEqual([])
  })

  test('P106 differs: disconnected and as a job exclude each other, before a session is opened', async () => {
    const peer = new FakePeer().knows('server01')
    const line = ['icm', '-cn', 'server01', '-InDisconnectedSession', '-AsJob', '{ 1 }']
    expect(await errand(line, { peer })).toMatchObject({ code: 2, out: '' })
    expect([peer.table, peer.held]).toEqual([[], []])
  })

  test('P106 differs: -SessionName is a parameter of nothing; that session gets its name as any other', async () => {
    const peer = new FakePeer().knows('server01')
    const line = ['icm', '-cn', 'server01', '-SessionName', 'x', '{ 1 }']
    expect(await errand(line, { peer })).toMatchObject({ code: 2, out: '' })
    expect([peer.table, peer.held]).toEqual([[], []])
  })

  test('P128 received with -OutTarget Host its output is shown, to its end; nothing there is nothing, and no error', async () => {
    const peer = new FakePeer()
    const session = peer.hold(new FakeSession(1, 'a'))
    expect(await errand(['Receive-PSSession', '-Id', '1', '-OutTarget', 'Host'], { peer })).toMatchObject({
      code: 0,
      out: '',
    })
    session.waiting = new FakeJob(5, ['x'], {})
    const one = new Running(['Receive-PSSession', '-Id', '1', '-OutTarget', 'Host'], { peer })
    session.waiting.yields('Output 9')
    await one.stdout.has('Output 9\n')
    expect(one.stdout.text).toBe('Output 9\n')
    session.waiting.yields('Output 10').end()
    expect(await one.ended).toEqual({ code: 0, out: 'Output 9\nOutput 10\n', err: '' })
  })
})

describe('what is shown', () => {
  test('P139 S23 a job’s row has PowerShell’s columns at their places, its command cut; the job has all of it', () => {
    const command = `Get-Eventlog "${'x'.repeat(100)}"`
    const text = powershellJobTable([{ job: new FakeJob(1, { code: command }, {}).end().snapshot }])
    expect(columns(text)).toEqual([
      ['Id', 0],
      ['Name', 7],
      ['PSJobTypeName', 23],
      ['State', 39],
      ['HasMoreData', 53],
      ['Location', 69],
      ['Command', 90],
    ])
    const [, , row = ''] = text.split('\n')
    expect(row.slice(90)).toBe(`${command.slice(0, 24)}…`)
  })

  test('P139 a session’s row has PowerShell’s columns at their places', () => {
    const text = powershellSessionTable([new FakeSession(1, 'localhost', 'Runspace1').snapshot])
    expect(columns(text)).toEqual([
      ['Id', 1],
      ['Name', 4],
      ['Transport', 20],
      ['ComputerName', 30],
      ['ComputerType', 46],
      ['State', 62],
      ['ConfigurationName', 76],
      ['Availability', 98],
    ])
  })

  test('P134 -HideComputerName: the place is not shown before a line, and is still in each record', async () => {
    const peer = new FakePeer()
    peer.onStart = (job) => {
      for (const child of job.children) child.yields(2).end()
      job.end()
    }
    const line = ['icm', '-cn', 'a,b', '{ 2 }']
    expect((await errand(line, { peer })).out).toBe('a | 2\nb | 2\n')
    expect((await errand([...line, '-HideComputerName'], { peer })).out).toBe('2\n2\n')
    const { out } = await errand([...line, '-HideComputerName', '--json'], { peer })
    expect(
      out
        .trim()
        .split('\n')
        .map((one) => JSON.parse(one) as object),
    ).toMatchObject([{ location: 'a' }, { location: 'b' }])
  })
})

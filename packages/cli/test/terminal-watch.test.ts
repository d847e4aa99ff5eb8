// oxlint-disable no-control-regex -- colours are control characters
// What is live on a terminal, as a person sees it, in a real one: `watch`, `list --watch`, progress.
import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Machines, until } from './support/machines.ts'
import { Screen, errand, hasTmux } from './support/screen.ts'

const counting = 'for (let n = 1; ; n++) { yield `line ${n}`; await sleep(100) }'

/** Times, process ids and counted lines are other ones each time; they take as many cells. */
function still(screen: string): string {
  return screen
    .replaceAll(/ {2,}(?:\d+[mhd])?\d+[smh](?= )/g, (found) => '#s'.padStart(found.length))
    .replaceAll(/took( +)(?:\d+m)?\d+s/g, 'took$1#s')
    .replaceAll(/\d\d:\d\d:\d\d/g, '##:##:##')
    .replaceAll(/pid \d+/g, 'pid #')
    .replaceAll(/line \d+/g, 'line #')
}

describe.skipIf(!hasTmux)('live, in a terminal (needs tmux)', () => {
  let machines: Machines
  let ERRAND_HOME: string
  beforeEach(async () => {
    machines = new Machines()
    ERRAND_HOME = machines.home('laptop')
    await machines.up('laptop')
  })
  afterEach(() => machines[Symbol.asyncDispose]())

  const ok = (...words: string[]): Promise<string> => machines.ok('laptop', ...words)
  const open = (args: string[], options: Parameters<typeof Screen.open>[1] = {}): Promise<Screen> =>
    Screen.open(errand(...args), { columns: 80, rows: 14, ...options, env: { ERRAND_HOME, ...options.env } })
  /** With a shell around it that stays: of a terminal whose program has ended nobody can say whether it shows a cursor. */
  const openInShell = (args: string[]): Promise<Screen> =>
    Screen.open(['sh', '-c', 'echo before; "$@"; echo "exit $?"; exec sleep 600', 'sh', ...errand(...args)], {
      env: { ERRAND_HOME },
    })

  /** Three jobs that stay as they are: one that goes on, one that asks, one that has failed. */
  async function threeJobs(): Promise<void> {
    await ok('start', '-n', 'counting', '-e', counting)
    await ok('start', '-n', 'asking', '-e', 'await ask({ prompt: "Delete it?", choices: ["yes", "no"] })')
    await ok('start', '-n', 'failing', '--wait', '-e', 'throw new Error("no such table")').catch(() => undefined)
    await ok('wait', '2', '--for', 'Blocked')
  }

  test('watch: jobs as they are, and as they change', async () => {
    await threeJobs()
    await using screen = await open(['watch'])
    await screen.until('counting')
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-jobs.txt')
    expect(await screen.modes()).toEqual({ alternate: true, cursor: false })
    await ok('start', '-n', 'another', '--', 'sleep', '600')
    await screen.until(/4 +another +Running/)
    await ok('answer', '2', 'yes')
    await screen.until(/2 +asking +Completed/)
    await ok('remove', '2')
    await screen.until((text) => !text.includes('asking'))
    await screen.key('q')
    expect(await screen.exited()).toBe(0)
    expect(await screen.text()).toBe('')
  })

  test('watch: leaving by a key, and by SIGTERM, puts back what stood there', async () => {
    {
      await using screen = await openInShell(['watch'])
      await screen.until('no jobs')
      expect(await screen.modes()).toEqual({ alternate: true, cursor: false })
      await screen.key('Escape')
      expect(await screen.until('exit')).toBe('before\nexit 0')
      expect(await screen.modes()).toEqual({ alternate: false, cursor: true })
    }
    await using screen = await openInShell(['watch'])
    await screen.until('no jobs')
    const shell = await screen.pid()
    process.kill(Number(readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim()), 'SIGTERM')
    expect(await screen.until('exit')).toBe('before\nexit 143')
    expect(await screen.modes()).toEqual({ alternate: false, cursor: true })
  })

  test('watch: what keeps it from beginning is said where it stays', async () => {
    await using screen = await openInShell(['watch', 'nobody'])
    expect(await screen.until('exit')).toMatch(/^before\nerrand: no job 'nobody'[^]*exit 3$/)
    expect(await screen.modes()).toEqual({ alternate: false, cursor: true })
  })

  test('watch: what a job is and what it says, live; stopped and removed by keys', async () => {
    await threeJobs()
    await using screen = await open(['watch'])
    await screen.until('> 3')
    await screen.key('Enter')
    await screen.until('ERROR')
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-failed.txt')
    await screen.key('Escape')
    await screen.until('> 3')
    await screen.key('j')
    await screen.until('> 2')
    await screen.key('Enter')
    await screen.until('Delete it? (yes, no)')
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-asking.txt')
    await screen.key('Escape')
    await screen.until('> 2')
    await screen.key('Down')
    await screen.until('> 1')
    await screen.key('Enter')
    const before = Number(/line (\d+)\n[^\n]*$/.exec(await screen.until(/line \d+\n/))![1])
    await screen.until((text) => Number(/line (\d+)\n[^\n]*$/.exec(text)?.[1]) > before)
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-output.txt')

    await screen.key('s')
    await screen.until('stop job 1 (counting)? y/n')
    await screen.key('n')
    await screen.until('Escape back')
    await screen.key('s')
    await screen.until('y/n')
    await screen.key('y')
    await screen.until('job 1 is Stopped')
    await screen.key('r')
    await screen.until('job 1 has output nobody received; remove it? y/n')
    await screen.key('y')
    await screen.until('job 1 is removed')
    expect(await screen.text()).not.toContain('counting')
    await screen.key('k', 'r')
    await screen.until(/job [23] (is Blocked: stop it first|has output nobody)/)
    expect((await ok('list', '-q')).trim().split('\n')).toEqual(['2', '3'])
  })

  test('watch: sessions, peers, help, and rows with a text', async () => {
    await threeJobs()
    await ok('session', 'new', 'localhost', '-n', 'build')
    await using screen = await open(['watch'])
    await screen.until('counting')
    await screen.key('Tab')
    await screen.until('build')
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-sessions.txt')
    await ok('session', 'disconnect', 'build')
    await screen.until('Disconnected')
    await screen.key('3')
    await screen.until('no peers')
    await ok('peer', 'add', '12D3KooWJRjzaQ1kbRRpJd2Ndb6qHnxsURXKyMhPBDX8JzVXsxbR', '-n', 'server01')
    await screen.until('server01')
    await screen.key('1', '?')
    await screen.until('jobs, sessions, peers')
    await expect(await screen.text()).toMatchFileSnapshot('screens/watch-help.txt')
    await screen.key('x', '/')
    await screen.type('FAIL')
    await screen.key('Enter')
    await screen.until((text) => text.includes('failing') && text.includes("'FAIL'"))
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-find.txt')
    await screen.key('Escape')
    await screen.until('counting')
    await screen.key('Escape')
    expect(await screen.exited()).toBe(0)
  })

  test('watch: a window of 40 columns, one of 5 rows, one of 1', async () => {
    await threeJobs()
    await using screen = await open(['watch'])
    await screen.until('counting')
    await screen.resize(40, 10)
    await screen.until(/ID +STATE +TIME +NAME/)
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-40-columns.txt')
    await screen.key('Enter')
    await screen.until('ERROR')
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-40-columns-failed.txt')
    await screen.key('Escape')
    await screen.resize(80, 5)
    await screen.until('LOCATION')
    await expect(still(await screen.text())).toMatchFileSnapshot('screens/watch-5-rows.txt')
    await screen.key('End')
    await screen.until('> 1')
    await screen.resize(80, 1)
    await screen.until((text) => text.startsWith('> 1'))
    await screen.resize(80, 14)
    await screen.until('failing')
  })

  test('watch: colours, and none with NO_COLOR', async () => {
    await threeJobs()
    const colors = /\u001b\[(?:\d+;)*(?:3[0-7]|9[0-7])m/
    {
      await using screen = await open(['watch'])
      await screen.until('counting')
      expect(await screen.styled()).toMatch(colors)
      await screen.key('C-c')
      expect(await screen.exited()).toBe(130)
    }
    await using screen = await open(['watch'], { env: { NO_COLOR: '1' } })
    await screen.until('counting')
    expect(await screen.styled()).not.toMatch(/\u001b\[[\d;]*[1-9]\d*m/)
    expect(await screen.text()).toContain('> 3')
  })

  test('watch: the peer goes away, and is back', async () => {
    await ok('start', '-n', 'before', '--', 'sleep', '600')
    await using screen = await open(['watch'])
    await screen.until(/before +Running/)
    await ok('down', '--force')
    await screen.until('waiting for it')
    await machines.up('laptop')
    await screen.until((text) => /before +Stopped/.test(text) && !text.includes('waiting'))
    await ok('start', '-n', 'after', '--', 'sleep', '600')
    await screen.until(/after +Running/)
  })

  test('list --watch: the table where it stands; its last state stays', async () => {
    await ok('start', '-n', 'one', '--', 'sleep', '600')
    await using screen = await open(['list', '-w'])
    await screen.until(/one .* Running/)
    await ok('start', '-n', 'two', '--', 'sleep', '600')
    await screen.until(/two .* Running/)
    await screen.resize(40, 14)
    await screen.until('…')
    await ok('stop', 'one')
    await screen.until(/one .* Stopped/)
    await expect(await screen.text()).toMatchFileSnapshot('screens/list-watch-40-columns.txt')
    await screen.key('C-c')
    expect(await screen.exited()).toBe(130)
    await expect(await screen.text()).toMatchFileSnapshot('screens/list-watch-40-columns.txt')
  })

  test('list --watch: more jobs than rows', async () => {
    for (let n = 0; n < 8; n++) await ok('start', '-n', `job-${n}`, '--', 'sleep', '600')
    await using screen = await open(['list', '-w'], { rows: 6 })
    await screen.until('older ones')
    expect((await screen.text()).split('\n')).toHaveLength(5)
    await ok('stop', '8')
    await screen.until('Stopped')
    expect(await screen.scrollback()).toBe(await screen.text())
  })

  test('progress: a bar for each child, under what they say, and gone at the end', async () => {
    const script = [
      'progress({ activity: `Copying to ${args[0]}`, percent: 25, secondsRemaining: 30 })',
      'yield "begun"',
      'progress({ activity: "Checking", status: "3 of 9" })',
      'await ask("go on?")',
      'yield "done"',
    ].join('; ')
    const words = ['run', '--on', 'localhost,localhost,localhost', '--args', '["disk"]', '-e', script]
    await using screen = await open(words, { env: { NO_COLOR: '1' } })
    await screen.until((text) => text.split('3 of 9').length === 4 && text.split('begun').length === 4)
    await expect(bars(await screen.text())).toMatchFileSnapshot('screens/progress-three.txt')
    for (const child of ['1.1', '1.2', '1.3']) await ok('answer', child, 'yes')
    expect(await screen.exited()).toBe(0)
    expect(await screen.text()).not.toMatch(/\[#|3 of 9/)
    expect((await screen.text()).match(/^done$/gm)).toHaveLength(3)
  })
  /** What stands under the last line that was said. */
  function bars(screen: string): string {
    return screen.slice(screen.search(/Copying|Checking/))
  }

  test('progress: a map counts its items, of how many where that is known', async () => {
    const slow = 'async n => { if (n > 2) await new Promise(() => {}); return n }'
    await using screen = await open(['map', '--throttle', '2', '--input', '[1,2,3,4,5,6,7,8]', slow])
    await screen.until(/2\/8 +2 at work/)
    expect((await screen.text()).split('\n').at(-1)).toBe('Job1  [#####---------------]  25%  2/8  2 at work')
    await screen.key('C-c')
    expect(await screen.exited()).toBe(130)
    expect(await screen.text()).not.toContain('at work')
  })

  test('watch --at: the jobs of another peer, also when it was away', async () => {
    await machines.up('far')
    await machines.pair('laptop', 'far')
    await ok('--at', 'far', 'start', '-n', 'there', '--', 'sleep', '600')
    await using one = await open(['watch', '--at', 'far'])
    await using all = await open(['watch', '--at', 'all'])
    await one.until(/> 1 +there +Running/)
    await all.until(/> far +1 +there +Running/)
    await machines.ok('far', 'down', '--force')
    await one.until('waiting for it')
    // What is known of it stays; keys are still said, for the other table is heard.
    await all.until((text) => /> far +1 +there +/.test(text) && /\] .* far/.test(text) && text.includes('q leave'))
    await ok('start', '-n', 'mine', '--', 'sleep', '600')
    await all.until(/laptop +1 +mine +Running/)
    await machines.up('far')
    await one.until(/> 1 +there +Stopped/)
    await all.until(/far +1 +there +Stopped/)
    await ok('--at', 'far', 'start', '-n', 'again', '--', 'sleep', '600')
    await one.until(/> 2 +again +Running/)
    await all.until(/far +2 +again +Running/)
    for (const screen of [one, all]) {
      await screen.key('q')
      expect(await screen.exited()).toBe(0)
    }
  })

  test('prefixes: one width, a colour for each place, none with NO_COLOR', async () => {
    await machines.up('far')
    await machines.pair('laptop', 'far')
    const words = ['run', '--on', 'localhost,far', '-e', 'yield 1']
    {
      await using screen = await open(words)
      expect(await screen.exited()).toBe(0)
      expect((await screen.text()).split('\n').toSorted()).toEqual(['far       | 1', 'localhost | 1'])
      const colors = [...(await screen.styled()).matchAll(/\u001b\[([\d;]+)m(?:far|localhost)/g)].map(
        (found) => found[1],
      )
      expect(new Set(colors).size).toBe(2)
    }
    await using screen = await open(words, { env: { NO_COLOR: '1' } })
    expect(await screen.exited()).toBe(0)
    expect(await screen.styled()).not.toContain('\u001b')
  })
})

describe('live, where nobody looks', () => {
  let machines: Machines
  beforeEach(async () => {
    machines = new Machines()
    await machines.up('laptop')
  })
  afterEach(() => machines[Symbol.asyncDispose]())

  const ok = (...words: string[]): Promise<string> => machines.ok('laptop', ...words)

  test('watch and list --watch: a line per change, and documents with --json', async () => {
    await ok('start', '-n', 'before', '--', 'sleep', '600')
    await using lines = machines.follow('laptop', 'watch')
    await using named = machines.follow('laptop', 'list', 'before', '-w', '--json=id,state')
    await using running = machines.follow('laptop', 'list', '-s', 'running', '-w', '-q')
    await until(() => [lines, named, running].every((one) => one.lines.length === 1))
    await ok('start', '-n', 'after', '-e', 'throw new Error("x")')
    await until(() => lines.stdout.includes('Failed'))
    await ok('stop', 'before')
    await until(() => lines.stdout.includes('Stopped') && named.stdout.includes('Stopped'))
    expect(lines.lines.map((line) => line.split(/ +/).slice(1, 5).join(' '))).toEqual([
      '1 Running localhost before',
      '2 NotStarted localhost after',
      '2 Running localhost after',
      '2 Failed localhost after',
      '1 Stopping localhost before',
      '1 Stopped localhost before',
    ])
    for (const line of lines.lines) expect(line).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z {2}/)
    expect(await lines.leave()).toBe(130)
    expect(lines.stderr).toBe('')
    expect(new Set(named.documents.map(({ id }) => id as number))).toEqual(new Set([1]))
    expect(named.documents.at(-1)).toEqual({ id: 1, state: 'Stopped' })
    // Each time it is in that state, and when it is no more.
    expect(running.lines).toEqual(['1', '2', '2', '1'])
  })

  test('events: each thing that happens, as a line and as a document', async () => {
    await using json = machines.follow('laptop', 'events', '--json')
    await using lines = machines.follow('laptop', 'events')
    await until(async () => {
      await ok('start', '-n', 'marker', '--wait', '-e', '1')
      return lines.stdout !== '' && json.stdout !== ''
    })
    const id = (await ok('start', '-n', 'one', '--wait', '-e', '1')).trim()
    await ok('session', 'new', 'localhost', '-n', 'build')
    await ok('session', 'remove', 'build')
    await ok('remove', 'one')
    await until(() => json.stdout.includes('job.removed') && lines.stdout.includes('removed'))
    expect(json.documents[0]).toEqual({ at: expect.any(String), event: 'begin' })
    const mine = json.documents.filter(({ job }) => job?.name === 'one')
    expect(mine.map(({ event }) => event as string)).toEqual([
      'job.created',
      'job.started',
      'job.completed',
      'job.removed',
    ])
    expect(mine[2]).toMatchObject({
      state: 'Completed',
      previous: 'Running',
      job: { id: Number(id), name: 'one', state: 'Completed', children: [] },
      reason: null,
    })
    const sessions = (hosted: boolean): string[] =>
      json.documents.filter((one) => one.hosted === hosted).map(({ event }) => event as string)
    expect(sessions(false)[0]).toBe('session.opened')
    expect(sessions(false).at(-1)).toBe('session.closed')
    expect(sessions(true)).toEqual(['session.opened', 'session.closed'])
    expect(lines.stdout).toMatch(/^\S+Z {2}job \d+ +Completed +localhost {2}one: 1$/m)
    expect(lines.stdout).toMatch(/^\S+Z {2}session 1 +Opened +localhost {2}build$/m)
    expect([json.stderr, lines.stderr]).toEqual(['', ''])
  })

  test('events of another peer; a time limit; what there is not', async () => {
    await machines.up('far')
    await machines.pair('laptop', 'far')
    await using there = machines.follow('laptop', 'events', '--at', 'far', '--json=event,job')
    await until(() => there.lines.length === 1)
    await ok('--at', 'far', 'start', '-e', '1')
    await until(() => there.stdout.includes('job.completed'))
    expect(there.documents.map(({ event }) => event as string)).toEqual([
      'begin',
      'job.created',
      'job.started',
      'job.completed',
    ])
    expect(await machines.type('laptop', ['events', '--timeout', '1s'])).toEqual({ code: 124, stdout: '', stderr: '' })
    expect(await machines.type('laptop', ['events', '--json=nothing'])).toMatchObject({ code: 2 })
    expect(await machines.type('laptop', ['events', '--at', 'nobody'])).toMatchObject({ code: 3 })
  })

  test('events of several peers, of which one is away for a while', { timeout: 90_000 }, async () => {
    await machines.up('far')
    await machines.pair('laptop', 'far')
    await using events = machines.follow('laptop', 'events', '--at', 'localhost,far', '--json=event,from')
    await events.until(({ documents }) => documents.filter(({ event }) => event === 'begin').length >= 2)
    await machines.ok('far', 'down', '--force')
    await events.until(({ stderr }) => stderr.includes('waiting for it'))
    await ok('--at', 'localhost', 'start', '--wait', '-e', '1')
    await events.until(({ documents }) =>
      documents.some(({ event, from }) => event === 'job.completed' && from === 'localhost'),
    )
    await machines.up('far')
    await events.until(
      ({ documents }) => documents.filter(({ event, from }) => event === 'begin' && from === 'far').length >= 2,
    )
    await ok('--at', 'far', 'start', '--wait', '-e', '1')
    await events.until(({ documents }) =>
      documents.some(({ event, from }) => event === 'job.completed' && from === 'far'),
    )
    expect(events.documents.filter(({ event, from }) => event === 'begin' && from === 'localhost')).toHaveLength(1)
    expect(events.stderr).toMatch(/^warning: [^\n]*far[^\n]*; waiting for it\n$/)
    expect(events.stderr).not.toContain('closed')
  })

  test('no progress in a pipe', async () => {
    const { stdout, stderr } = await machines.type('laptop', [
      'run',
      '-e',
      'progress({ activity: "copy", percent: 5 }); yield 1; await sleep(200)',
    ])
    expect({ stdout, stderr }).toEqual({ stdout: '1\n', stderr: '' })
  })
})

// Actors by the real binary and real daemons: offered by a file, spawned from another machine, looked at, sent to, followed,
// also while links and daemons come and go.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { PRINTS, schemaOf } from '../src/json-schema.ts'
import { Machines, until } from './support/machines.ts'
import { Screen, errand, hasTmux } from './support/screen.ts'

const APPROVAL = fileURLToPath(new URL('../../runtime/test/fixtures/approval.ts', import.meta.url))
const COUNTER = fileURLToPath(new URL('../../runtime/test/fixtures/machines.ts', import.meta.url))
const KEPT = fileURLToPath(new URL('../../runtime/test/fixtures/kept-counter.ts', import.meta.url))
const GRANTS = 'connect,run:script,spawn:approval'
const ajv = new Ajv2020({ allErrors: true, strictTypes: false })

let machines: Machines
beforeAll(async () => {
  machines = new Machines()
  await Promise.all([
    machines.up('laptop'),
    machines.up('server01', '--offer', APPROVAL),
    machines.up('server02', '--offer', COUNTER),
  ])
  await machines.pair('laptop', 'server01')
  await machines.ok('server01', 'peer', 'allow', 'laptop', '--grant', GRANTS)
}, 60_000)
afterAll(() => machines[Symbol.asyncDispose](), 60_000)

/** From the laptop, in the table of the server. */
const there = (...words: string[]): Promise<string> => machines.ok('laptop', '--at', 'server01', ...words)
const refused = async (...words: string[]): Promise<{ code: number; stderr: string }> => {
  const { code, stderr } = await machines.type('laptop', ['--at', 'server01', ...words])
  return { code, stderr }
}
async function spawned(name: string): Promise<string> {
  return (await there('spawn', 'approval', '--name', name, '--input', '{"what": "a laptop"}')).trim()
}
// oxlint-disable-next-line typescript/no-explicit-any -- what it is is what the schema says
async function documents(...words: string[]): Promise<any[]> {
  const lines = (await there(...words, '--json')).trimEnd().split('\n')
  const validate = ajv.compile(schemaOf(PRINTS[words[0]!]!.schema))
  return lines.map((line) => {
    const document: unknown = JSON.parse(line)
    validate(document)
    expect(validate.errors ?? [], line).toEqual([])
    return document
  })
}

describe('an actor on server01', { timeout: 60_000 }, () => {
  test('is offered: its peer says so', async () => {
    const status = JSON.parse(await machines.ok('server01', 'status', '--json')) as unknown
    expect(status).toMatchObject({ offers: { machines: ['approval'], jobs: ['greeting'] } })
    expect(await machines.ok('server01', 'status')).toContain('machine approval\n')
    // A named job of the same file.
    expect(await machines.ok('server01', 'run', '--job', 'greeting', '--args', '"Ann"')).toBe('hello Ann\n')
  })

  test('is spawned, looked at, sent to, and done', async () => {
    const id = await spawned('first')
    expect(id).toMatch(/^\d+$/)
    const shown = still(await there('inspect', id))
    expect(shown).toContain('type      MachineJob\n')
    expect(shown).toContain(`
is in        waiting.fresh
accepts now  approve, reject, note, look
timers       after patience (1 h)  in #
`)
    expect(shown).toContain(`
● approval
  ● waiting  initial, tagged open
      on entry / ask
      approve  → approved  [mayApprove]  / sign
      reject   → rejected  / sign
      note     / remember
      look     → looking
      remind   / ask  (not from outside)
      after patience (1 h)  → rejected  in #
    ● fresh  initial
`)
    const [job] = await documents('inspect', id)
    expect(job).toMatchObject({
      type: 'MachineJob',
      actor: {
        machine: 'approval',
        value: { waiting: 'fresh' },
        context: { what: 'a laptop', notes: 0 },
        accepts: ['approve', 'reject', 'note', 'look'],
        chart: { key: 'approval', states: [{ key: 'waiting', active: true }, {}, {}, {}] },
      },
    })

    await there('send', id, 'note')
    await there('send', 'first', 'look')
    // Its own step is there as well.
    await until(async () => (await there('events', id)).includes('done of lookup'))
    const events = await there('events', id)
    const lines = events.split('\n').map((line) => line.replace(/^\S+ +job \d+ +/, ''))
    expect(lines).toEqual(
      expect.arrayContaining([
        'note          waiting.fresh → waiting.noted',
        'look          waiting.noted → looking',
        'done of lookup  looking → waiting.fresh',
        "says          { type: 'asked', what: 'a laptop' }",
      ]),
    )
    await there('send', id, 'approve', '{"by": "Ann"}')
    await there('wait', id)
    expect(await there('receive', id)).toContain("{ by: 'Ann' }")
    expect(await there('inspect', id)).not.toContain('accepts now')
    expect(await documents('inspect', id)).toMatchObject([{ state: 'Completed', actor: null }])
  })

  test('takes no other events, and says which it takes', async () => {
    const id = await spawned('strict')
    for (const [words, why] of [
      [['remind'], "takes no event 'remind' from outside"],
      [['approve'], 'a name is needed'],
      [['approve', '{"by": 5}'], 'a name is needed'],
    ] as const) {
      const { code, stderr } = await refused('send', id, ...words)
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(why) as string })
      expect(stderr).toContain('it accepts now: approve, reject, note, look\n')
    }
    // What its state has nothing for is sent all the same: whether a guard lets it is not asked.
    expect(await refused('send', id, 'approve', '{"by": "a laptop"}')).toEqual({ code: 0, stderr: '' })
    await there('stop', id)
    expect(await refused('send', id, 'note')).toMatchObject({ code: 1, stderr: expect.stringContaining('ended') })
    expect(await refused('send', '4711', 'note')).toMatchObject({ code: 3 })
  })

  test('is asked, and answers', async () => {
    const id = (await machines.ok('server02', 'spawn', 'counter', '--input', '{"from": 7}')).trim()
    expect(await machines.ok('server02', 'ask', id, 'total')).toBe('7\n')
    await machines.ok('server02', 'send', id, 'add', '{"n": 5}')
    const document = JSON.parse(await machines.ok('server02', 'ask', id, 'total', '--json')) as { jobId: string }
    const validate = ajv.compile(schemaOf(PRINTS['ask']!.schema))
    expect(validate(document), JSON.stringify(document)).toBe(true)
    const { instanceId } = JSON.parse(await machines.ok('server02', 'inspect', id, '--json=instanceId')) as never
    expect(document).toEqual({ jobId: instanceId, value: 12 })
    for (const [words, code, why] of [
      [['go on'], 1, "does nothing on 'go on' there\n  it accepts now: "],
      [['secret'], 2, "takes no event 'secret' from outside\n  it accepts now: "],
      [['add', '{"n": "x"}'], 2, 'a number'],
      [['note', '--timeout', '300ms'], 124, 'not done after 300ms'],
    ] as const) {
      const refusal = await machines.type('server02', ['ask', id, ...words])
      expect(refusal).toMatchObject({ code, stdout: '', stderr: expect.stringContaining(why) })
    }
    await machines.ok('server02', 'stop', id)
    expect(await machines.type('server02', ['ask', id, 'total'])).toMatchObject({ code: 1 })
  })

  test('is no reason to stay up for, nor to be waited for, where it is durable', async () => {
    const here = (...line: string[]): Promise<string> => machines.ok('server03', ...line)
    await machines.up('server03', '--offer', KEPT)
    const id = (await here('spawn', 'tally')).trim()
    await here('send', id, 'add', '{"n": 3}')
    expect(await here('down')).toBe('')
    await machines.start('server03')
    expect(await here('ask', id, 'total')).toBe('3\n')
    // Of those that would end, it is told how many there are.
    await here('start', '-e', 'await sleep(60000)')
    expect(await machines.type('server03', ['down'])).toMatchObject({
      code: 1,
      stderr: 'errand: one job runs here\n  --drain waits for them, --force ends them\n',
    })
    await here('start', '-e', '1')
    expect(await here('down', '--force')).toBe('')
    await machines.start('server03')
    await here('send', id, 'add', '{"n": 4}')
    expect(await here('down', '--drain')).toBe('')
    await machines.start('server03')
    expect(await here('ask', id, 'total')).toBe('7\n')
    await here('send', id, 'finish')
    expect(await here('receive', id, '--wait')).toBe('{ count: 7 }\n')
  })

  test('is found by its registered name, also where it is no job of ours', async () => {
    const words = ['spawn', 'approval', '--register', 'desk', '--input', '{"what": "a desk"}']
    const id = (await there(...words)).trim()
    // Its peer's owner has other jobs than who spawned it.
    const here = (...line: string[]): Promise<string> => machines.ok('server01', ...line)
    expect(await machines.type('server01', ['send', id, 'note'])).toMatchObject({ code: 3 })
    expect(await here('send', 'desk', 'note')).toBe('')
    const [shown] = [await here('inspect', 'desk')]
    expect(shown).toMatch(/^actor desk\ninstance /)
    expect(shown).toContain('is in        waiting.noted\n')
    const validate = ajv.compile(schemaOf(PRINTS['inspect']!.schema))
    const document = JSON.parse(await here('inspect', 'desk', '--json')) as unknown
    expect(validate(document), JSON.stringify(document)).toBe(true)
    expect(document).toMatchObject({ name: 'desk', actor: { value: { waiting: 'noted' } } })
    expect(await machines.type('server01', ['ask', 'desk', 'remind'])).toMatchObject({ code: 2, stdout: '' })
    await using following = machines.follow('server01', 'events', 'desk', '-f', '--json=event,type')
    await following.until(({ stdout }) => stdout.includes('note'))
    // Who spawned it may not look names up there, and is told so.
    const refusal = await refused('send', 'desk', 'note')
    expect(refusal).toMatchObject({ code: 3, stderr: expect.stringContaining('with the grant jobs:read') })
    await machines.ok('server01', 'peer', 'allow', 'laptop', '--grant', `${GRANTS},jobs:read`)
    // To them it is the job that it is.
    expect(await there('inspect', 'desk')).toContain(`job ${id}  `)
    await there('send', 'desk', 'reject {"by": "Bob"}')
    await following.until(({ documents: all }) => all.some(({ type }) => type === 'reject'))
    expect(await following.ended).toBe(0)
    expect(await machines.type('server01', ['send', 'desk', 'note'])).toMatchObject({ code: 3 })
    await machines.ok('server01', 'peer', 'allow', 'laptop', '--grant', GRANTS)
  })

  test('is spawned by who may, where it is offered, of an input that fits', async () => {
    expect(await refused('spawn', 'counter')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('spawn:counter'),
    })
    expect(await refused('spawn', 'approval', '--input', '5')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('what is to be approved?'),
    })
    const nobody = await machines.type('server01', ['spawn', 'nobody'])
    expect(nobody).toMatchObject({ code: 3, stderr: expect.stringContaining("offers no machine 'nobody'") })
    // Here nothing is offered.
    expect(await machines.type('laptop', ['spawn', 'approval'])).toMatchObject({ code: 3 })
  })

  test('is followed to its end', async () => {
    const id = await spawned('followed')
    await using following = machines.follow('laptop', '--at', 'server01', 'events', id, '-f', '--json')
    await following.until(({ stdout }) => stdout.includes('asked'))
    for (const type of ['note', 'look', 'note']) await there('send', id, type)
    await there('send', id, 'reject {"by": "Bob"}')
    await following.until(({ stdout }) => stdout.includes('job.completed'))
    const validate = ajv.compile(schemaOf(PRINTS['events']!.schema))
    for (const document of following.documents) expect(validate(document), JSON.stringify(document)).toBe(true)
    const seen = following.documents.filter(({ event }) => event === 'actor.transition')
    expect(seen.map(({ seq }) => seq as number)).toEqual(seen.map((_, index) => index + 1))
    expect(seen.at(-1)).toMatchObject({ type: 'reject', state: 'rejected' })
    // Its end is the last that is said, and with it following ends.
    expect(following.documents.at(-1)).toMatchObject({ event: 'job.completed', job: { id: Number(id) } })
    expect(await following.ended).toBe(0)
  })

  test('goes on being followed when this machine’s daemon is killed and started again', async () => {
    const id = await spawned('over')
    await using following = machines.follow('laptop', '--at', 'server01', 'events', id, '-f', '--json=seq,type')
    await following.until(({ stdout }) => stdout.includes('"begin"') || stdout.includes('{}'))
    await there('send', id, 'note')
    await following.until(({ documents: all }) => all.some(({ type }) => type === 'note'))
    process.kill(await machines.pid('laptop'), 'SIGKILL')
    await machines.start('laptop')
    await there('send', id, 'look')
    await following.until(({ documents: all }) => all.some(({ type }) => type === 'done of lookup'))
    const transitions = following.documents.filter(({ type }) => type !== undefined)
    expect(transitions).toEqual([
      { seq: 1, type: 'note' },
      { seq: 2, type: 'look' },
      { seq: 3, type: 'done of lookup' },
    ])
    expect(await following.leave()).toBe(130)
    expect(JSON.parse(await there('inspect', id, '--json=state'))).toEqual({ state: 'Running' })
  })

  test('each Tab knows its events', async () => {
    const id = await spawned('completed')
    const complete = async (...words: string[]): Promise<string[]> => {
      const out = await machines.ok('laptop', '__complete', '--timeout', '10s', '--', ...words)
      return out
        .split('\n')
        .slice(1, -1)
        .map((line) => line.split('\t')[0]!)
    }
    expect(await complete('--at', 'server01', 'send', id, '')).toEqual(['approve', 'reject', 'note', 'look'])
    expect(await complete('--at', 'server01', 'send', 'completed', 'no')).toEqual(['note'])
    expect(await complete('send', '4711', '')).toEqual([])
    const own = await machines.ok('server01', '__complete', '--timeout', '10s', '--', 'spawn', '')
    expect(own.split('\n').slice(1, -1)).toEqual(['approval\tmachine'])
  })

  test.skipIf(!hasTmux)('on a terminal, wide and narrow', async () => {
    const id = await spawned('shown')
    await there('send', id, 'note')
    await there('send', id, 'approve {"by": "a laptop"}')
    await until(async () => JSON.parse(await there('inspect', id, '--json=actor')).actor.transitions.length === 2)
    for (const columns of [80, 40]) {
      await using screen = await Screen.open(errand('--at', 'server01', 'inspect', id), {
        columns,
        rows: 60,
        env: { ERRAND_HOME: machines.home('laptop') },
      })
      expect(await screen.exited()).toBe(0)
      // What is said of the job, above, has ids and times of its own.
      const [, actor = ''] = (await screen.text()).split(/\n(?=machine )/)
      await expect(still(actor)).toMatchFileSnapshot(`screens/inspect-actor-${columns}-columns.txt`)
      // Coloured: behind the end of a sequence.
      expect(await screen.styled()).toContain('m●')
    }
  })
})

/** Times are other ones each time; they take as many cells. */
function still(screen: string): string {
  return screen.replaceAll(/\d\d:\d\d:\d\d/g, '##:##:##').replaceAll(/in (?:1 h|59 min(?: \d+ s)?)/g, 'in #')
}

describe('errand up --offer', { timeout: 60_000 }, () => {
  const file = (name: string, text: string): string => {
    const path = join(machines.folder, name)
    writeFileSync(path, text)
    return path
  }
  const up = (...words: string[]): ReturnType<Machines['type']> => machines.type('other', ['up', ...words])

  test('says what is wrong with a file, and forgets it', async () => {
    expect(await up('--offer', 'nowhere.ts')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no file'),
    })
    for (const [path, why, hint] of [
      [file('empty.mjs', 'export const answer = 42'), 'offers nothing', 'export what'],
      [file('throws.mjs', 'throw new Error("not today")'), 'not today', 'plain Node'],
      [file('broken.ts', 'export enum A { B }'), 'enum', 'plain Node'],
      [file('missing.mjs', 'import "no-such-package"'), 'no-such-package', 'npm install no-such-package'],
    ] as const) {
      const { code, stderr } = await up('--offer', path)
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(why) as string })
      expect(stderr).toContain(path)
      expect(stderr).toContain(hint)
    }
    expect(await machines.ok('other', 'config', 'get', 'offer')).toBe('')
    expect((await machines.type('other', ['status'])).code).toBe(5)
  })

  test('is remembered, and may be taken back', async () => {
    const copy = file('two.mjs', `export * from ${JSON.stringify(APPROVAL)}\n`)
    await machines.start('other', '--offer', copy, '--offer', APPROVAL)
    // What two files export is one.
    expect(await machines.ok('other', 'status')).toContain('machine approval\n')
    await machines.ok('other', 'down')
    await machines.start('other')
    expect(await machines.ok('other', 'spawn', 'approval', '--input', '{"what": "x"}')).toBe('1\n')
    expect(await machines.ok('other', 'config', 'get', 'offer')).toBe(`${copy}\n${APPROVAL}\n`)
    await machines.ok('other', 'down', '--force')
    await machines.ok('other', 'config', 'unset', 'offer')
    await machines.start('other')
    expect((await machines.type('other', ['spawn', 'approval'])).code).toBe(3)
    await machines.ok('other', 'config', 'set', 'offer', APPROVAL)
    expect(JSON.parse(readFileSync(join(machines.home('other'), 'config.json'), 'utf8'))).toMatchObject({
      offer: [APPROVAL],
    })
  })

  test('a file that has gone keeps its peer from starting, and it is said how to do without', async () => {
    const gone = file('gone.mjs', `export * from ${JSON.stringify(APPROVAL)}\n`)
    await machines.ok('gone', 'config', 'set', 'offer', gone)
    rmSync(gone)
    const { code, stderr } = await machines.type('gone', ['list'])
    expect(code).toBe(1)
    expect(stderr).toContain(gone)
    expect(stderr).toContain('`errand config unset offer`')
    await machines.ok('gone', 'config', 'unset', 'offer')
    await machines.start('gone')
  })

  test('two of one name are refused', async () => {
    const twin = file(
      'twin.ts',
      `import { approval } from ${JSON.stringify(APPROVAL)}\nexport const other = Object.freeze(Object.create(Object.prototype, Object.getOwnPropertyDescriptors(approval)))\n`,
    )
    const { code, stderr } = await machines.type('twins', ['up', '--offer', twin, '--offer', APPROVAL])
    expect(code).not.toBe(0)
    expect(stderr).toContain("two of the machines are named 'approval'")
  })
})

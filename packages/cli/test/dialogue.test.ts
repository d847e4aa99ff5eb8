// Into a job, and what it asks: send, answer, suspend, resume, map, what start takes along; and Blocked jobs in words.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { mapScript } from '../src/map-script.ts'
import { fitting } from '../src/typed-value.ts'
import { failure, type FakeJob, FakePeer, FakeSession } from './fake-peer.ts'
import { contextOf, errand, Running, Sink } from './harness.ts'

const running = (): FakePeer => {
  const peer = new FakePeer()
  peer.onStart = () => {}
  return peer
}
/** A peer with one job, which runs. */
async function one(): Promise<{ peer: FakePeer; job: FakeJob }> {
  const peer = running()
  await peer.start(['x'])
  return { peer, job: peer.table[0]! }
}
async function folder(files: Record<string, string>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'errand-'))
  onTestFinished(() => rm(path, { recursive: true }))
  for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text)
  return path
}

describe('a job that waits for its reader', () => {
  it('is listed with the line that lets it go on, and says so in its document', async () => {
    const { peer, job } = await one()
    job.paused = 'output-full'
    const { out, err } = await errand(['list'], { peer })
    expect(out).toMatch(/^ID .*\n1 .* Running .*\n$/)
    expect(err).toBe('job 1 is paused: as much as is kept of it was left unread\n  errand receive 1\n')
    expect(JSON.parse((await errand(['list', '--json=state,paused'], { peer })).out)).toEqual([
      { state: 'Running', paused: 'output-full' },
    ])
    job.paused = undefined
    expect(JSON.parse((await errand(['list', '--json=paused'], { peer })).out)).toEqual([{ paused: null }])
    expect((await errand(['list'], { peer })).err).toBe('')
  })
})

describe('a Blocked job', () => {
  it('is listed with what it asks and the line that answers it', async () => {
    const { peer, job } = await one()
    job.asks('Delete 12 files?', { choices: ['yes', 'no'], default: 'no' })
    const { out, err } = await errand(['list'], { peer })
    expect(out).toMatch(/^ID .*\n1 .* Blocked .*\n$/)
    expect(err).toBe('job 1 asks: Delete 12 files? (yes, no) [no]\n  errand answer 1 yes\n')
    for (const words of [['list', '-q'], ['list', '--json'], ['Get-Job']])
      expect((await errand(words, { peer })).err).toBe('')
  })
  it('says whose it is where several tables are spoken to, and hides nothing of what cannot be typed', async () => {
    const peer = running().knows('server01')
    const far = (await (await peer.home('server01')).start(['x'])) as FakeJob
    far.state = 'Running'
    far.endedAt = undefined
    far.asks('Password\n\u001b[2J for root', { secret: true, default: 'hunter2' })
    const { err } = await errand(['list', '--at', 'all'], { peer })
    expect(err).toBe('job 1 asks: Password [2J for root\n  errand --at server01 answer 1\n')
    far.asks('which?', { choices: ["the 'old' one", 'b'] })
    expect((await errand(['list', '--at', 'all'], { peer })).err).toContain(
      String.raw`errand --at server01 answer 1 'the '\''old'\'' one'`,
    )
  })
  it('is a parent of whoever asks: it is said once', async () => {
    const peer = running()
    await peer.start(['x'], { on: ['a', 'b'] })
    const [parent] = peer.table
    parent!.children[0]!.asks('sure?')
    parent!.asks('sure?')
    expect((await errand(['list', '--children'], { peer })).err.match(/asks/g)).toHaveLength(2)
    expect((await errand(['list'], { peer })).err).toBe('job 1 asks: sure?\n  errand answer 1 VALUE\n')
  })
  it('has its question, attempt and history in its document', async () => {
    const { peer, job } = await one()
    job.asks('limit?', { default: 5n, schema: { type: 'integer' } })
    const [document] = JSON.parse((await errand(['list', '--json'], { peer })).out) as Record<string, unknown>[]
    expect(document).toMatchObject({
      state: 'Blocked',
      epoch: 1,
      question: {
        id: '1',
        prompt: 'limit?',
        choices: null,
        default: { $bigint: '5' },
        secret: false,
        schema: { type: 'integer' },
        askedAt: '2026-11-22T09:00:01.000Z',
      },
      history: [
        { state: 'Running', at: '2026-11-22T09:00:00.000Z' },
        { state: 'Blocked', at: '2026-11-22T09:00:01.000Z' },
      ],
    })
    expect(JSON.parse((await errand(['list', '--json=id,question', '1'], { peer })).out)).toMatchObject([
      { id: 1, question: { prompt: 'limit?' } },
    ])
  })
  it('is told of by whoever waits for it, once for each question, also when it comes later', async () => {
    const { peer, job } = await one()
    job.asks('first?')
    const waiting = new Running(['wait', '1'], { peer })
    await waiting.stderr.has('errand answer 1 VALUE')
    await job.answer('x', { question: '1' })
    job.asks('second?')
    await waiting.stderr.has('job 1 asks: second?')
    await job.answer('y', { question: '2' })
    job.end()
    const { code, out, err } = await waiting.ended
    expect({ code, out }).toEqual({ code: 0, out: '1\n' })
    expect(err.match(/asks/g)).toHaveLength(2)
  })
  it.each([
    ['run', ['run', 'x']],
    ['start --follow', ['start', '-f', 'x']],
    ['start --wait', ['start', '--wait', 'x']],
    ['receive --wait', ['receive', '1', '--wait']],
  ])('is told of by %s', async (_, argv) => {
    const { peer, job } = argv[0] === 'receive' ? await one() : { peer: running(), job: undefined }
    if (!job) peer.onStart = (started) => void started.asks('go on?')
    else job.asks('go on?')
    const waiting = new Running(argv, { peer })
    await waiting.stderr.has('errand answer 1 VALUE')
    const [asking] = peer.table
    await asking!.answer('', { question: '1' })
    asking!.end()
    expect(await waiting.ended).toMatchObject({ code: 0 })
  })
  it('makes a wait whose time is up say what is pending, and what to type', async () => {
    const { peer, job } = await one()
    await peer.start(['y'])
    job.asks('Delete?', { choices: ['yes', 'no'] })
    expect(await errand(['wait', '1', '2', '--timeout', '20ms', '-q'], { peer })).toEqual({
      code: 124,
      out: '',
      err: 'errand: not done after 20ms: 1 is Blocked (Delete? (yes, no)), 2 is Running\n  errand answer 1 yes\n',
    })
    await job.answer('yes', { question: '1' })
    await job.suspend()
    expect((await errand(['wait', '1', '--timeout', '5ms', '--json'], { peer })).err).toBe(
      `${JSON.stringify({ error: { code: 'TIMEOUT', message: 'not done after 5ms: 1 is Suspended', hint: 'errand resume 1' } })}\n`,
    )
  })
  it('does not make other commands tell another reason for their own time limit', async () => {
    const { peer } = await one()
    expect(await errand(['receive', '1', '--wait', '--timeout', '5ms'], { peer })).toMatchObject({
      code: 124,
      err: expect.stringContaining('not done after 5ms'),
    })
  })
})

describe('answer', () => {
  it('gives the value as text, or as JSON, to the question that is open', async () => {
    const { peer, job } = await one()
    job.asks('sure?')
    expect(await errand(['answer', '1', 'yes'], { peer })).toEqual({ code: 0, out: '', err: '' })
    job.asks('limits?')
    expect(await errand(['answer', '1', '--json', '{"n":1}'], { peer })).toEqual({ code: 0, out: '', err: '' })
    job.asks('really?')
    expect((await errand(['answer', '1', '5'], { peer })).code).toBe(0)
    expect(job.calls).toEqual([
      ['answer', 'yes'],
      ['answer', { n: 1 }],
      ['answer', '5'],
    ])
  })
  it('takes text as what the question says it wants', async () => {
    const { peer, job } = await one()
    job.asks('how many?', { schema: { type: 'integer' } })
    await errand(['answer', '1', '12'], { peer })
    expect(job.calls).toEqual([['answer', 12]])
    for (const [text, type, value] of [
      ['1.5e3', 'number', 1500],
      ['-3', 'integer', -3],
      ['many', 'number', 'many'],
      ['0x10', 'number', '0x10'],
      ['', 'number', ''],
      ['Yes', 'boolean', true],
      ['n', 'boolean', false],
      ['maybe', 'boolean', 'maybe'],
      ['5', 'string', '5'],
      ['5', undefined, '5'],
    ] as const) {
      expect(fitting(text, type && { type })).toBe(value)
    }
    expect(fitting('5', true)).toBe('5')
  })
  it('asks whoever types, shows what is asked, and takes an empty line for the default', async () => {
    const { peer, job } = await one()
    job.asks('sure?', { choices: ['yes', 'no'], default: 'no' })
    const typing = new Running(['answer', '1'], { peer, columns: 80 })
    typing.stdin.isTTY = true
    await typing.stderr.has('sure? (yes, no) [no] ')
    typing.stdin.write('\n')
    expect(await typing.ended).toMatchObject({ code: 0, out: '' })
    expect(job.calls).toEqual([['answer', '']])
  })
  it('shows nothing of what is secret, and leaves at Ctrl-C with the question open', async () => {
    const { peer, job } = await one()
    job.asks('Password:', { secret: true })
    const typing = new Running(['answer', '1'], { peer, columns: 80 })
    typing.stdin.isTTY = true
    await typing.stderr.has('Password: ')
    typing.stdin.write('hunter2\n')
    const { code, out, err } = await typing.ended
    expect({ code, out, err }).toEqual({ code: 0, out: '', err: 'Password: \n' })
    expect(job.calls).toEqual([['answer', 'hunter2']])
    job.asks('Again:', { secret: true })
    const leaving = new Running(['answer', '1'], { peer, columns: 80 })
    leaving.stdin.isTTY = true
    await leaving.stderr.has('Again: ')
    leaving.stdin.write('hun\u0003')
    expect((await leaving.ended).code).toBe(130)
    expect(job.state).toBe('Blocked')
  })
  it('takes what is in a pipe, all of it without its last line end', async () => {
    const { peer, job } = await one()
    job.asks('text?')
    expect((await errand(['answer', '1'], { peer, stdin: 'one\ntwo\n' })).code).toBe(0)
    expect(job.calls).toEqual([['answer', 'one\ntwo']])
  })
  it('that does not fit leaves the question open and says it again', async () => {
    const { peer, job } = await one()
    job.asks('sure?', { choices: ['yes', 'no'] }, (value) => value === 'yes')
    expect(await errand(['answer', '1', 'perhaps'], { peer })).toEqual({
      code: 2,
      out: '',
      err: 'errand: that answer does not fit\n  it asks: sure? (yes, no)\n',
    })
    expect(job.state).toBe('Blocked')
    expect((await errand(['answer', '1', '--question', '7', 'yes'], { peer })).err).toContain(
      'it has its answer already',
    )
  })
  it.each([
    [['answer', '1', 'x'], 1, /job 1 asks nothing: it is Running\n {2}`errand list -s Blocked`/],
    [['answer', '9', 'x'], 3, /no job 9/],
    [['answer'], 2, /answer needs JOB/],
    [['answer', '1', '--json', '{'], 2, /'\{' is not JSON/],
    [['answer', '--at', 'a,b', '1', 'x'], 2, /an answer is for one job/],
  ])('%j ends with %i', async (argv, code, words) => {
    const { peer } = await one()
    peer.knows('a', 'b')
    const ended = await errand(argv, { peer })
    expect(ended).toMatchObject({ code, out: '', err: expect.stringMatching(words) })
  })
})

describe('send', () => {
  it('gives a value, as text or JSON', async () => {
    const { peer, job } = await one()
    expect(await errand(['send', '1', 'hello'], { peer })).toEqual({ code: 0, out: '', err: '' })
    await errand(['send', '1', '--json', '[1,2]'], { peer })
    expect(job.sent).toEqual(['hello', [1, 2]])
    expect(job.calls).toEqual([])
  })
  it('gives each line of stdin, in order, and ends the input only when told to', async () => {
    const { peer, job } = await one()
    await errand(['send', '1'], { peer, stdin: 'a\n\n{"b":1}\n' })
    expect(job.sent).toEqual(['a', '', '{"b":1}'])
    await errand(['send', '1', '-', '--json', '--eof'], { peer, stdin: '1\n{"b":2}\n' })
    expect(job.sent.slice(3)).toEqual([1, { b: 2 }])
    expect(job.calls).toEqual([['endInput', {}]])
  })
  it('--eof alone reads nothing, and with a value comes behind it', async () => {
    const { peer, job } = await one()
    const ending = new Running(['send', '1', '--eof'], { peer })
    expect(await ending.ended).toMatchObject({ code: 0 })
    await errand(['send', '1', 'x', '--eof'], { peer })
    expect(job.sent).toEqual(['x'])
    expect(job.calls).toHaveLength(2)
  })
  it('reads the next line when there is room for it, and leaves at Ctrl-C', async () => {
    const { peer, job } = await one()
    const room = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    job.send = async (value) => {
      job.sent.push(value)
      asked.resolve()
      await room.promise
    }
    const sending = new Running(['send', '1'], { peer })
    sending.stdin.write('a\nb\n')
    await asked.promise
    await new Promise((resolve) => setImmediate(resolve))
    expect(job.sent).toEqual(['a'])
    sending.signals.emit('SIGINT')
    room.resolve()
    expect(await sending.ended).toMatchObject({ code: 130, err: '' })
  })
  it('says that a job takes no more', async () => {
    const { peer, job } = await one()
    job.end()
    expect(await errand(['send', '1', 'x'], { peer })).toMatchObject({
      code: 1,
      err: expect.stringContaining('takes no input any more'),
    })
    expect(await errand(['send', '-', 'x'], { peer })).toMatchObject({ code: 2 })
  })
})

describe('suspend and resume', () => {
  it('do so, one by one, and say what cannot be', async () => {
    const { peer, job } = await one()
    await peer.start(['y'])
    peer.table[1]!.end()
    expect(await errand(['suspend', '1', '2'], { peer })).toEqual({
      code: 1,
      out: '',
      err: 'errand: Job2 is Completed and cannot be suspended\n',
    })
    expect(job.state).toBe('Suspended')
    expect(JSON.parse((await errand(['resume', '1', '--json=id,state'], { peer })).out)).toEqual([
      { id: 1, state: 'Running' },
    ])
    expect(await errand(['Suspend-Job', '-Id', '1', '-Force'], { peer })).toMatchObject({ code: 0 })
    expect(await errand(['rujb', '1', '-Wait'], { peer })).toMatchObject({ code: 0 })
    expect(job.state).toBe('Running')
  })
})

describe('start takes along', () => {
  it('how often, when and how long', async () => {
    const { peer } = await one()
    const flags = ['--retry', '3', '--delay', '5s', '--deadline', '1m', '--after', '1', '--max-memory', '64']
    await errand(['start', ...flags, '--init', 'globalThis.n = 1', '-e', 'n'], { peer })
    expect(peer.table[1]?.options).toMatchObject({
      retry: { times: 3 },
      delay: '5s',
      deadline: '1m',
      after: 1,
      maxMemory: 64,
      init: { code: 'globalThis.n = 1' },
    })
    await errand(['start', '--restart', 'on-failure', '--after', 'build', '--', 'x'], { peer })
    expect(peer.table[2]?.options).toMatchObject({ restart: { times: 5, within: '1m' }, after: 'build' })
    await errand(['run', '--restart', 'on-failure:0', '-e', '1', '--timeout', '5ms'], { peer })
    expect(peer.table[3]?.options).toMatchObject({ restart: { times: 0, within: '1m' } })
    const allowed = ['--allow', 'read=/srv', '--allow', 'read=/etc/x=y', '--allow', 'write=/tmp', '--allow', 'worker']
    await errand(['start', ...allowed, '-e', '1'], { peer })
    expect(peer.table[4]?.options).toMatchObject({
      permissions: { read: ['/srv', '/etc/x=y'], write: ['/tmp'], worker: true },
    })
    await errand(['start', '--allow', 'none', '-e', '1'], { peer })
    expect(peer.table[5]?.options).toMatchObject({ permissions: {} })
  })
  it('a file to be done first', async () => {
    const peer = running()
    const cwd = await folder({ 'first.ts': 'export default (): void => {}' })
    await errand(['start', '--init', 'first.ts', '-e', '1'], { peer, cwd })
    expect(peer.table[0]?.options.init).toMatchObject({
      file: 'first.ts',
      module: expect.stringContaining('export default'),
    })
  })
  it('the name of a job, and its one value', async () => {
    const peer = running()
    await errand(['start', '--job', 'backup', '--args', '{"to":"/srv"}'], { peer })
    expect(peer.table[0]).toMatchObject({ work: { name: 'backup' }, options: { args: { to: '/srv' } } })
    await errand(['run', '--job', 'backup', '--args', '[1]', '--timeout', '5ms'], { peer })
    expect(peer.table[1]?.options.args).toEqual([1])
    await errand(['Start-Job', '-DefinitionName', 'backup'], { peer })
    expect(peer.table[2]).toMatchObject({ work: { name: 'backup' } })
    expect(peer.table[2]?.options).not.toHaveProperty('args')
  })
  it('the limit of thread jobs, which is all of theirs from then on', async () => {
    const peer = running().knows('server01')
    await errand(['Start-ThreadJob', '{ 1 }', '-ThrottleLimit', '2'], { peer })
    expect(peer.most).toBe(2)
    await errand(['--at', 'server01', 'start', '--engine', 'thread', '--throttle', '3', '-e', '1'], { peer })
    expect([peer.most, peer.homes.get('server01')!.most]).toEqual([2, 3])
    await errand(['start', '--throttle', '9', '-e', '1'], { peer })
    expect(peer.most).toBe(2)
  })
  it('what it is to read, and stays until it is read', async () => {
    const peer = running()
    const cwd = await folder({ 'in.ndjson': '{"a":1}\n\ntext\n5\n[6]\n', 'list.json': '[1,{"b":2}]\n' })
    expect(await errand(['start', '--input', '[1,"a"]', '-e', '1'], { peer })).toEqual({ code: 0, out: '1\n', err: '' })
    await errand(['start', '--input', '{"a":1}', '-e', '1'], { peer })
    await errand(['start', '--input', '@in.ndjson', '-e', '1'], { peer, cwd })
    await errand(['start', '--input', '@list.json', '-e', '1'], { peer, cwd })
    await errand(['start', '--input', '@in.ndjson', '--lines', '-e', '1'], { peer, cwd })
    await errand(['start', '--input', '-', '-e', '1'], { peer, stdin: 'a\n7\n' })
    await errand(['start', '--input', '-', '--', 'cat'], { peer, stdin: 'a\n7\n' })
    expect([...peer.fed.values()].slice(0, 6)).toEqual([
      [1, 'a'],
      [{ a: 1 }],
      [{ a: 1 }, 'text', 5, [6]],
      [1, { b: 2 }],
      ['{"a":1}', '', 'text', '5', '[6]'],
      ['a', 7],
    ])
    expect(Buffer.concat(peer.fed.get(7) as Uint8Array[]).toString()).toBe('a\n7\n')
    expect(peer.table.every(({ calls }) => calls.some(([call]) => call === 'endInput'))).toBe(true)
  })
  it('nothing that is wrong: it is said, and whoever reads it hears of it', async () => {
    const peer = running()
    const ended = await errand(['start', '--input', '-', '-e', '1'], { peer, stdin: 'a\n{"b":\n' })
    expect(ended).toMatchObject({
      code: 2,
      out: '1\n',
      err: expect.stringMatching(/line 2 of the input is not JSON: .*\n {2}one value a line .*--lines/),
    })
    expect(peer.table[0]).toMatchObject({ state: 'Failed', reason: { code: 'USAGE' } })
    const missing = await errand(['start', '--input', '@nowhere', '-e', '1'], { peer, cwd: tmpdir() })
    expect(missing).toMatchObject({ code: 2, err: expect.stringContaining('nowhere cannot be read') })
  })
  it.each([
    [['start', '--retry', 'x', '-e', '1'], "--retry: 'x' is not a whole number from 0 on"],
    [['start', '--restart', 'always', '-e', '1'], "--restart: 'always' is not on-failure or on-failure:N"],
    [['start', '--restart', 'on-failure:', '-e', '1'], 'is not on-failure or on-failure:N'],
    [['start', '--allow', 'net', '-e', '1'], "--allow: 'net' is none of none, read=PATH"],
    [['start', '--allow', 'read=', '-e', '1'], "'read=' is none of"],
    [['start', '--input', 'text', '-e', '1'], "--input: 'text' is not JSON"],
    [['start', '--job', 'x', 'ls'], "'ls' is too much beside --job"],
    [['start', '--job', 'x', '-e', '1'], '-e and --job exclude each other'],
    [['start', '--job', 'a b'], 'a job is named by letters'],
    [['start', '--job', 'x', '--using', '{}'], '--using is for scripts'],
    [['start', '--at', 'a,b', '--input', '1', '-e', '1'], '--input goes to one job'],
    [['start', '--detach', '--on', 'a', '--input', '1', '-e', '1'], '--detach leaves at once'],
    [['map'], 'nothing to do with them'],
    [['map', '-e', '1', 'x => x'], 'too much beside -e CODE'],
    [['map', 'x => ('], 'that is no JavaScript'],
    [['map', '--input', '{', 'x => x'], "--input: '{' is not JSON"],
  ])('%j ends with 2', async (argv, words) => {
    const peer = running()
    const { code, out, err } = await errand(argv, { peer })
    expect(err).toContain(words)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect([peer.table, peer.maps]).toEqual([[], []])
  })
})

describe('map', () => {
  it('does the same for each line, and ends as the job ends', async () => {
    const peer = running()
    const listed = (await errand(['list', '--json'], { peer: (await one()).peer })).out
    expect(await errand(['map', 'x => x.name'], { peer, stdin: listed })).toEqual({ code: 0, out: 'Job1\n', err: '' })
    expect(await errand(['map', '-e', 'item * 2'], { peer, stdin: '1\n2\n' })).toMatchObject({ code: 0, out: '2\n4\n' })
    expect((await errand(['map', '--lines', 'x => x + 1'], { peer, stdin: '1\n[2]\n' })).out).toBe('11\n[2]1\n')
    const body = 'for (let n = 0; n < item; n++) yield n'
    expect((await errand(['map', '--input', '[2,1]', '-e', body], { peer })).out).toBe('0\n1\n0\n')
    const warned = await errand(['map', '--input', '1', '(x, ctx) => { ctx.warn(x) }'], { peer })
    expect(warned).toEqual({ code: 0, out: '', err: 'WARNING: 1\n' })
    const failed = await errand(
      ['map', '--input', '[1,2]', 'x => { if (x > 1) throw new Error("no " + x); return x }'],
      { peer },
    )
    expect(failed).toMatchObject({ code: 1, out: '1\n', err: 'ERROR: no 2\nERROR: 1 of 2 items failed\n' })
  })
  it('hands over how it is to be done', async () => {
    const peer = running().knows('server01')
    const flags = ['--throttle', '7', '--ordered', '--item-deadline', '30s', '--name', 'm', '--using', '{"k":2}']
    await errand(['map', ...flags, '--input', '1', 'x => x'], { peer, cwd: '/srv' })
    expect(peer.maps[0]?.options).toMatchObject({
      throttle: 7,
      ordered: true,
      itemTimeout: '30s',
      name: 'm',
      using: { k: 2 },
      cwd: '/srv',
    })
    await errand(['map', '--on', 'server01', '--rm', '--input', '1', 'x => x'], { peer })
    expect(peer.maps[1]?.options).toMatchObject({ on: ['server01'] })
    expect(peer.maps[1]?.options).not.toHaveProperty('cwd')
    expect(peer.live).toHaveLength(1)
    await errand(
      ['ForEach-Object', '-Parallel', '{ item }', '-ThrottleLimit', '3', '-TimeoutSeconds', '9', '-InputObject', '1,b'],
      { peer },
    )
    expect(peer.maps[2]).toMatchObject({ inputs: [1, 'b'], options: { throttle: 3, deadline: '9s' } })
  })
  it('takes a file as its text, with the name of its export', async () => {
    const peer = running()
    const cwd = await folder({ 'check.ts': 'export const twice = (_: object, n: number): number => 2 * n' })
    await errand(['map', 'check.ts#twice', '--input', '4'], { peer, cwd })
    const text = String(peer.maps[0]!.script)
    expect(text).toContain('{ ["twice"]: script }')
    const [, sent] = /base64,([\w+/=]+)/.exec(text)!
    expect(Buffer.from(sent!, 'base64').toString()).toMatch(/^export const twice = /)
    expect(await errand(['map', 'nowhere.ts', '--input', '4'], { peer, cwd })).toMatchObject({ code: 2 })
  })
  it('stops at Ctrl-C, and does not wait for more input', async () => {
    const peer = running()
    const mapping = new Running(['map', 'x => x'], { peer })
    mapping.stdin.write('1\n')
    await mapping.stdout.has('1\n')
    mapping.signals.emit('SIGINT')
    expect(await mapping.ended).toMatchObject({ code: 130, err: 'errand: stopping job 1, again to kill\n' })
    expect(peer.table[0]?.state).toBe('Stopped')
  })
  it('tells whoever types that lines are wanted', async () => {
    const mapping = new Running(['map', 'x => x'], { peer: running(), columns: 80 })
    mapping.stdin.isTTY = true
    await mapping.stderr.has('a line for each; Ctrl-D ends')
    mapping.stdin.end('7\n')
    expect(await mapping.ended).toMatchObject({ code: 0, out: expect.stringContaining('7') })
  })
  it('has the names of a script in scope, and lets code have its own by those names', async () => {
    const context = contextOf({ stdout: new Sink(), stderr: new Sink() })
    const script = await mapScript(context, {}, 'const error = 1; const warn = error + item; yield warn')
    const values: unknown[] = []
    for await (const value of script({} as never, 2) as AsyncIterable<unknown>) values.push(value)
    expect(values).toEqual([3])
  })
})

it('every new verb begins its help with examples', async () => {
  for (const verb of ['map', 'send', 'answer', 'suspend', 'resume', 'start']) {
    const { code, out } = await errand(['help', verb])
    expect({ verb, code }).toEqual({ verb, code: 0 })
    expect(out).toMatch(new RegExp(`^Examples:\n  .*errand ${verb}`))
  }
  expect((await errand(['help', 'input'])).out).toContain('@FILE')
})

it('a session is a table like any other', async () => {
  const peer = running()
  const session = peer.hold(new FakeSession(4, 'server02', 'build'))
  session.onStart = () => {}
  await session.start(['x'])
  session.table[0]!.asks('sure?')
  expect(await errand(['--at', 'session:build', 'answer', '1', 'yes'], { peer })).toMatchObject({ code: 0 })
  expect(session.table[0]!.calls).toEqual([['answer', 'yes']])
  session.table[0]!.suspend = async () => {
    throw failure('JOB_STATE', 'it cannot be suspended where it runs')
  }
  expect(await errand(['suspend', '1', '--at', '4'], { peer })).toMatchObject({ code: 1 })
})

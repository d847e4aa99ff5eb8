// What a job says, by every way of saying it and in every engine: in the right stream, in the order it was said.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  codeOf,
  type Job,
  type JobRecord,
  type Peer,
  type Progress,
  type ScriptContext,
  type Session,
} from '../src/index.ts'
import { CREDIT_BYTES, PENDING_BYTES, recordsOf, RecordWriter, type RawChunk } from '../src/record.ts'
import { pair, type Pair } from './support/pair.ts'
import { all } from './support/peers.ts'

let two: Pair
let here: Peer
let session: Session

beforeAll(async () => {
  two = await pair()
  here = two.here
  session = await here.connect('far')
})
afterAll(async () => {
  await two[Symbol.asyncDispose]()
})

type Said = AsyncIterable<JobRecord>
type Script = (ctx: ScriptContext) => unknown

async function followed(job: Promise<Job<any>>): Promise<Said> {
  return (await job).receive({ follow: true })
}

/** Every place a script can run in. */
const ENGINES: Record<string, (script: Script) => Promise<Said>> = {
  'our runspace, a worker': async (script) => here.run(script).records(),
  'the runspace of a session, a process': async (script) => session.run(script).records(),
  'a thread': (script) => followed(here.start(script, { engine: 'thread' })),
  "a thread of another peer's session": (script) => followed(session.start(script, { engine: 'thread' })),
  'a process': (script) => followed(here.start(script)),
  'another peer, as our job': (script) => followed(here.start(script, { on: 'far' })),
}

/** Kind and what was said, for reading. */
function told(records: readonly JobRecord[]): unknown[] {
  return records.map((record) => {
    if (record.kind === 'error') return ['error', record.error.message]
    if (record.kind === 'progress') return ['progress', record.activity, record.percent]
    return [record.kind, record.kind === 'gap' ? record.dropped : record.value]
  })
}

describe.each(Object.entries(ENGINES))('in %s', (_, run) => {
  test('P14, P15, P77: everything said is in its stream, in the order it was said', async () => {
    const said = await all(
      await run(async function* (ctx: ScriptContext) {
        console.log('log %d', 1, { a: 1 })
        yield 'first'
        console.info({ info: true })
        console.warn('warn')
        console.error('error')
        console.debug('debug')
        process.stdout.write('out\n')
        process.stderr.write('err\n')
        process.stdout.write(Buffer.from('bytes'))
        process.stdout.write('aGV4', 'base64')
        ctx.warn('ctx.warn')
        ctx.verbose('ctx.verbose')
        ctx.debug('ctx.debug')
        ctx.info('ctx.info')
        ctx.progress({ activity: 'copying', percent: 10 })
        ctx.error(new RangeError('ctx.error'))
        yield 'middle'
        console.table([{ a: 1 }])
        console.dir({ deep: { er: 1 } })
        // Also from where nothing waits for it.
        await new Promise<void>((resolve) => setTimeout(() => (console.log('later'), resolve()), 1))
        queueMicrotask(() => process.stdout.write('microtask'))
        await Promise.resolve()
        ctx.progress({ activity: 'copying', percent: 100, completed: true })
        return 'last'
      }),
    )
    const [table] = said.filter(
      ({ kind, ...rest }) => kind === 'information' && String((rest as { value: unknown }).value).includes('(index)'),
    )
    expect(told(said.filter((record) => record !== table))).toEqual([
      ['information', 'log 1 { a: 1 }'],
      ['output', 'first'],
      ['information', { info: true }],
      ['warning', 'warn'],
      ['error', 'error'],
      ['debug', 'debug'],
      ['information', 'out'],
      ['error', 'err'],
      ['information', 'bytes'],
      ['information', 'hex'],
      ['warning', 'ctx.warn'],
      ['verbose', 'ctx.verbose'],
      ['debug', 'ctx.debug'],
      ['information', 'ctx.info'],
      ['progress', 'copying', 10],
      ['error', 'ctx.error'],
      ['output', 'middle'],
      ['information', '{ deep: { er: 1 } }'],
      ['information', 'later'],
      ['information', 'microtask'],
      ['progress', 'copying', 100],
      ['output', 'last'],
    ])
    expect(said.map(({ seq }) => seq)).toEqual(said.map((_record, index) => index))
  })

  test('an error keeps its class, code, cause, stack and own fields, and says where it happened', async () => {
    const [record] = await all(
      await run((ctx) => {
        class DiskError extends Error {
          override name = 'DiskError'
          code = 'E_DISK'
          device = '/dev/sda'
        }
        ctx.error(new DiskError('no space', { cause: new RangeError('0 bytes left', { cause: 'the disk' }) }))
      }),
    )
    if (record?.kind !== 'error') throw new Error(`it is a ${record?.kind}`)
    expect(record.error).toMatchObject({ name: 'DiskError', message: 'no space', code: 'E_DISK', device: '/dev/sda' })
    expect(record.error).toBeInstanceOf(Error)
    expect(record.error.stack).toContain('DiskError: no space')
    expect(record.error.cause).toBeInstanceOf(RangeError)
    expect(record.error.cause).toMatchObject({ message: '0 bytes left', cause: 'the disk' })
    expect(['localhost', 'far']).toContain(record.location)
    expect(record.jobId).toMatch(/^[0-9a-f-]{36}$/)
  })
})

describe('what fails a job', () => {
  const START: Record<string, (script: Script) => Promise<Job<any>>> = {
    'a thread': (script) => here.start(script, { engine: 'thread' }),
    'a process': (script) => here.start(script),
    'another peer': (script) => here.start(script, { on: 'far' }),
  }
  test.each(Object.entries(START))('in %s: ctx.error and stderr do not, a throw does', async (where, start) => {
    const wrong = await start((ctx) => {
      ctx.error('one')
      console.error('two')
      process.stderr.write('three\n')
      return 'done'
    })
    expect(await wrong.finished).toMatchObject({ state: 'Completed', errorCount: 3 })
    expect(wrong.reason).toBeUndefined()
    const thrown = await start(() => {
      throw Object.assign(new TypeError('boom'), { code: 'E_BOOM' })
    })
    await thrown.finished
    expect(thrown.state).toBe('Failed')
    const child = thrown.children[0] ?? thrown
    expect(child.reason).toBeInstanceOf(TypeError)
    expect(codeOf(child.reason)).toBe('E_BOOM')
    const [last] = await all(thrown.receive())
    expect(last).toMatchObject({
      kind: 'error',
      error: { message: 'boom', code: 'E_BOOM' },
      location: where === 'another peer' ? 'far' : 'localhost',
    })
  })

  test('of a process not what a program writes that it started: its lines are where they belong', async () => {
    const job = await here.start(() => {
      const { spawnSync } = process.getBuiltinModule('node:child_process')
      spawnSync('sh', ['-c', 'echo out; echo err >&2'], { stdio: 'inherit' })
    })
    expect(await job.finished).toMatchObject({ state: 'Completed', errorCount: 1 })
    const said = await all(job.receive())
    expect(told(said).map(String).toSorted()).toEqual(['error,err', 'information,out'])
  })

  test('of a command its exit code, not what it writes on stderr', async () => {
    const job = await here.start(['sh', '-c', 'echo out; echo err >&2'])
    expect(await job.finished).toMatchObject({ state: 'Completed', exitCode: 0, errorCount: 1 })
    const said = await all(job.receive())
    expect(said.map(({ kind }) => kind).toSorted()).toEqual(['error', 'output'])
    expect(said.find(({ kind }) => kind === 'error')).toMatchObject({
      error: { name: 'NativeCommandError', message: 'err' },
    })
  })
})

describe('progress', () => {
  /** A writer and what has left it. */
  function writer(credit?: number): { writer: RecordWriter; said: () => unknown[] } {
    const chunks: RawChunk[] = []
    const writing = new RecordWriter((chunk) => chunks.push(chunk), credit)
    const said = (): unknown[] =>
      told(chunks.flatMap((chunk) => recordsOf({ ...chunk, first: 0, from: 0, job: 'j', location: 'here' })))
    return { writer: writing, said }
  }
  const report = (percent: number, activity = 'copying'): Progress => ({ activity, percent })

  // A turn that takes long lets out what it has: here none does.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'] }))
  afterEach(() => void vi.useRealTimers())

  test('leaves by itself within a turn that takes long', () => {
    const { writer: one, said } = writer()
    one.write('progress', report(1))
    vi.setSystemTime(Date.now() + 10)
    one.write('progress', report(2))
    expect(said()).toEqual([['progress', 'copying', 2]])
    one.end()
    expect(said()).toHaveLength(1)
  })

  test('that has not left is replaced by the next of its activity, and never crosses another record', () => {
    const { writer: one, said } = writer()
    one.write('progress', report(1))
    one.write('progress', report(1, 'hashing'))
    one.write('progress', report(2))
    one.write('output', 'a')
    one.write('progress', report(3))
    one.write('progress', report(4))
    one.flush()
    one.write('progress', report(5))
    one.end()
    expect(said()).toEqual([
      ['progress', 'hashing', 1],
      ['progress', 'copying', 2],
      ['output', 'a'],
      ['progress', 'copying', 4],
      ['progress', 'copying', 5],
    ])
  })

  test('waits while nobody reads, and the last of it comes when somebody does, or when the job ends', () => {
    const { writer: one, said } = writer(1)
    one.write('output', 'a')
    one.flush()
    expect(one.full).toBe(true)
    for (let n = 0; n < 1000; n++) {
      one.write('progress', report(n))
      one.flush()
    }
    expect(said()).toEqual([['output', 'a']])
    one.credit(CREDIT_BYTES)
    expect(said()).toEqual([
      ['output', 'a'],
      ['progress', 'copying', 999],
    ])
    one.credit(-2 * CREDIT_BYTES)
    one.write('progress', report(1000))
    one.end()
    expect(said().at(-1)).toEqual(['progress', 'copying', 1000])
  })

  test('is waited for by who wants to know that everything has gone', async () => {
    const { writer: one, said } = writer(0)
    one.write('progress', report(1))
    let gone = false
    const sent = one.sent(new AbortController().signal).then(() => (gone = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(gone).toBe(false)
    one.credit(1000)
    await sent
    expect(said()).toEqual([['progress', 'copying', 1]])
  })

  test('of more activities than may wait, and with more text, is as any other record: none is lost', () => {
    const { writer: one, said } = writer(0)
    for (let n = 0; n < 200; n++) one.write('progress', report(n, `activity ${n}`))
    one.write('progress', { activity: 'x'.repeat(5000), percent: 1 })
    one.write('progress', { activity: 'x'.repeat(5000), percent: 2 })
    one.write('progress', { activity: 'odd', percent: 3, extra: { deep: true } })
    one.end()
    expect(said()).toHaveLength(203)
    expect(said().slice(0, 200)).toEqual(Array.from({ length: 200 }, (_, n) => ['progress', `activity ${n}`, n]))
  })

  test('of a loop that nobody reads fills nothing: the bound for what waits is not reached, and the last one comes', async () => {
    // As bytes many times over what a script may say without a `yield`.
    const times = 300_000
    expect(times * 60).toBeGreaterThan(PENDING_BYTES)
    for (const engine of ['thread', 'process'] as const) {
      const job = await here.start(
        (ctx, n) => {
          for (let i = 1; i <= n; i++) {
            ctx.progress({ activity: 'counting', status: `item ${i} of ${n}`, percent: (100 * i) / n })
          }
          return 'done'
        },
        { args: [times], engine },
      )
      expect((await job.finished).state).toBe('Completed')
      const said = told(await all(job.receive()))
      expect(said.slice(-2)).toEqual([
        ['progress', 'counting', 100],
        ['output', 'done'],
      ])
      expect(said.length).toBeLessThan(times / 20)
    }
  })
})

// Starting jobs, as PowerShell's cases have it: which numbers and names they get, what a script is given, what it says and
// what is left when it has ended. Where errand differs on purpose the title says so, and docs/POWERSHELL.md why.
import { mkdir, readFile, realpath, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createPeer, type Job, type JobRecord, type Kind, type ScriptContext, type StartOptions } from '../src/index.ts'
import { Peers, alive, all, outputs, refusal, until } from './support/peers.ts'
import { counter, family, lines, pidOf } from './support/scripts.ts'

let peers: Peers
beforeAll(async () => {
  peers = await Peers.start()
})
afterAll(() => peers.close())

const thread = { engine: 'thread' } as const

/** A job that works until it is stopped. */
async function endless(more: StartOptions = thread): Promise<Job> {
  const job: Job = await peers.laptop.start((ctx: ScriptContext) => ctx.sleep(600_000), more)
  await job.wait({ for: ['Running'], timeout: '10s' })
  return job
}

const valuesOf = (records: readonly JobRecord[], kind: Kind): unknown[] =>
  records.flatMap((record) => (record.kind === kind && 'value' in record ? [record.value] : []))

describe('numbers and names', () => {
  test('P1 differs: two jobs are Job1 and Job2, and take no number for what runs them', async () => {
    await using peer = await createPeer()
    const jobs = [await peer.start(() => 1), await peer.start(() => 2)]
    expect(jobs.map(({ id, name, children }) => [id, name, children.length])).toEqual([
      [1, 'Job1', 0],
      [2, 'Job2', 0],
    ])
    await Promise.all(jobs.map((job) => job.finished))
  })

  test('P2 two thread jobs have consecutive numbers', async () => {
    const [first, second] = [await peers.laptop.start(() => 1, thread), await peers.laptop.start(() => 2, thread)]
    expect(second.id).toBe(first.id + 1)
    await Promise.all([first.finished, second.finished])
  })

  test('a run takes no number, and a number that was removed is not given again', async () => {
    const first = await peers.laptop.start(() => 1, thread)
    await first.finished
    await first.remove()
    expect(await peers.laptop.run(() => 1)).toBe(1)
    const second = await peers.laptop.start(() => 2, thread)
    expect(second.id).toBe(first.id + 1)
    await second.finished
  })

  test('P3 two jobs of one name: both are listed by it; asked for one, it says which there are', async () => {
    const jobs = [
      await peers.laptop.start(() => 1, { ...thread, name: 'twin' }),
      await peers.laptop.start(() => 2, { ...thread, name: 'twin' }),
    ]
    expect((await peers.laptop.jobs({ name: 'TWIN' })).map(({ id }) => id)).toEqual(jobs.map(({ id }) => id))
    expect(await refusal('one of two', () => peers.laptop.job('twin'))).toMatchObject({
      code: 'JOB_AMBIGUOUS',
      message: expect.stringContaining(jobs.map(({ id }) => id).join(', ')),
    })
    await Promise.all(jobs.map((job) => job.finished))
  })

  test('P4 starting gives a job, at once, whatever the work is', async () => {
    const jobs = [
      await peers.laptop.start(() => 'Hi', thread),
      await peers.laptop.start({ code: "'Hi'" }, thread),
      await peers.laptop.start(['echo', 'Hi']),
      await peers.laptop.map(['Hi'], (_ctx, text) => text),
    ]
    for (const job of jobs) {
      expect(await peers.laptop.job(job.id)).toBe(job)
      expect(await job.output()).toEqual(['Hi'])
    }
  })

  test('P26 differs: there is no `&`; starting a line of code is what makes it a job', async () => {
    const job = await peers.laptop.start({ code: "console.log('Hi')" }, thread)
    expect(await peers.laptop.job(job.id)).toBe(job)
    expect(valuesOf(await all(job.receive({ follow: true })), 'information')).toEqual(['Hi'])
  })

  test('P5 P8 a job that starts a job is Running with more data at once; what the inner one says is its result', async () => {
    const job = await peers.laptop.start(async (ctx: ScriptContext) => {
      const inner = await ctx.session.start(() => 1 + 1, { engine: 'thread' })
      await inner.wait()
      for await (const record of inner.receive()) if (record.kind === 'output') return record.value
      return undefined
    }, thread)
    expect(['NotStarted', 'Running']).toContain(job.state)
    expect(job.hasMoreData).toBe(true)
    await job.wait({ for: ['Running', 'Completed'], timeout: '10s' })
    expect(await job.output()).toEqual([2])
  })

  test('P6 P98 the command is what stood between the braces, blanks and lines too, also of a map', async () => {
    const code = ' 1 + 1 '
    const text = '\n  const two = 1 + 1\n  return two\n'
    const job = await peers.laptop.start({ code }, thread)
    expect([job.command, await job.output()]).toEqual([code, [2]])
    const longer = await peers.laptop.start({ code: text }, thread)
    expect([longer.command, await longer.output()]).toEqual([text, [2]])
    const map = await peers.laptop.map([1], (_ctx, i) => i + 1)
    expect([map.command, await map.output()]).toEqual(['i + 1', [2]])
    expect((await peers.laptop.jobs({ command: '1 + 1' })).map(({ id }) => id)).toContain(job.id)
  })

  test('P7 start, wait, receive: 2; then it is Completed and has no more data', async () => {
    const job = await peers.laptop.start(() => 1 + 1, thread)
    expect((await job.wait()).state).toBe('Completed')
    expect(job.hasMoreData).toBe(true)
    expect(await outputs(job.receive())).toEqual([2])
    expect([job.state, job.hasMoreData]).toEqual(['Completed', false])
  })

  test('P11 the jobs of another peer of this process are not seen, nor to be had', async () => {
    await using other = await createPeer({ name: 'other' })
    const theirs = await other.start(() => 1, { ...thread, name: 'theirs' })
    await theirs.finished
    expect(await peers.laptop.jobs({ name: 'theirs' })).toEqual([])
    for (const which of ['theirs', theirs.instanceId]) {
      expect(await refusal('of another', () => peers.laptop.job(which))).toMatchObject({ code: 'JOB_NOT_FOUND' })
    }
  })

  test('S23 P98 the command of a long script is whole, however short a table shows it', async () => {
    const code = `'${'x'.repeat(5_000)}'`
    const job = await peers.laptop.start({ code }, thread)
    expect(job.command).toBe(code)
    await job.finished
  })
})

describe('what a job says', () => {
  test('P12 P75 a script that throws: its message exactly, once, as the last record; nothing throws at the receiver', async () => {
    const job = await peers.laptop.start(function* () {
      yield 1
      throw new RangeError('MyError')
    }, thread)
    const records = await all(job.receive({ follow: true, keep: true }))
    expect(records.map(({ kind }) => kind)).toEqual(['output', 'error'])
    const last = records.at(-1)!
    expect(last.kind === 'error' && last.error.message).toBe('MyError')
    expect(job).toMatchObject({ state: 'Failed', errorCount: 1 })
    expect(job.reason).toMatchObject({ name: 'RangeError', message: 'MyError' })
    // Received again it is there again.
    expect((await all(job.receive())).map(({ kind }) => kind)).toEqual(['output', 'error'])
    expect(await all(job.receive())).toEqual([])
    expect(job.reason?.message).toBe('MyError')
  })

  test('P13 P14 P15 P77 P91 each stream has its kind, in the order said, and is told while the job goes on', async () => {
    const gate = peers.gate()
    const script = async (ctx: ScriptContext, path: string): Promise<string> => {
      ctx.warn('MyWarning')
      ctx.verbose('MyVerbose')
      ctx.debug('MyDebug')
      ctx.info('MyInformation')
      console.log('MyHost')
      ctx.progress({ activity: '1', status: '2' })
      const { existsSync } = process.getBuiltinModule('node:fs')
      while (!existsSync(path)) await ctx.sleep(10)
      return 'end'
    }
    for (const engine of ['thread', 'process'] as const) {
      const job = await peers.laptop.start(script, { engine, args: [gate.path] })
      const said: JobRecord[] = []
      for await (const record of job.receive({ follow: true, limit: 6 })) said.push(record)
      expect(job.state).toBe('Running')
      expect(said.map(({ kind }) => kind)).toEqual([
        'warning',
        'verbose',
        'debug',
        'information',
        'information',
        'progress',
      ])
      expect(said.map(({ seq }) => seq)).toEqual([0, 1, 2, 3, 4, 5])
      expect(valuesOf(said, 'warning')).toEqual(['MyWarning'])
      expect(valuesOf(said, 'verbose')).toEqual(['MyVerbose'])
      expect(valuesOf(said, 'debug')).toEqual(['MyDebug'])
      expect(valuesOf(said, 'information')).toEqual(['MyInformation', 'MyHost'])
      expect(said.at(-1)).toMatchObject({ kind: 'progress', activity: '1', status: '2' })
      await job.stop({ grace: 0 })
    }
  })

  test('P97 an error that is only said is data in its place; the job completes', async () => {
    for (const engine of ['thread', 'process'] as const) {
      const job = await peers.laptop.start(
        function* (ctx: ScriptContext) {
          yield 'before'
          ctx.error(new TypeError('Error:1'))
          yield 'behind'
        },
        { engine },
      )
      await job.finished
      expect(job).toMatchObject({ state: 'Completed', errorCount: 1, reason: undefined })
      const records = await all(job.receive())
      expect(records.map((one) => (one.kind === 'error' ? one.error.message : 'value' in one && one.value))).toEqual([
        'before',
        'Error:1',
        'behind',
      ])
    }
  })

  test('P19 a program that prints 2: Completed, has more data, the result is its line; removed, it is not found by its name', async () => {
    const job = await peers.laptop.start(['echo', '2'], { name: 'p19' })
    await job.wait()
    expect(job).toMatchObject({ state: 'Completed', hasMoreData: true, exitCode: 0 })
    expect(await outputs(job.receive())).toEqual(['2'])
    await job.remove()
    expect(await refusal('removed', () => peers.laptop.job('p19'))).toMatchObject({ code: 'JOB_NOT_FOUND' })
    expect(await peers.laptop.jobs({ name: 'p19' })).toEqual([])
  })

  test('differs: an exit code other than 0 is a failure, and is kept; what it said on stderr alone is none', async () => {
    const job = await peers.laptop.start(['sh', '-c', 'echo out; echo err >&2; exit 3'])
    await job.finished
    expect(job).toMatchObject({ state: 'Failed', exitCode: 3 })
    expect(job.reason).toMatchObject({ code: 'COMMAND_EXIT', exitCode: 3 })
    expect(await outputs(job.receive())).toEqual(['out'])
    const fine = await peers.laptop.start(['sh', '-c', 'echo err >&2'])
    await fine.finished
    expect(fine).toMatchObject({ state: 'Completed', exitCode: 0, errorCount: 1 })
  })

  test('a script that ends its process has not completed, whatever its exit code says', async () => {
    for (const engine of ['thread', 'process'] as const) {
      const job = await peers.laptop.start(
        async function* () {
          yield 'said'
          await new Promise((resolve) => setImmediate(resolve))
          process.exit(0)
        },
        { engine },
      )
      await job.finished
      expect(job).toMatchObject({ state: 'Failed', exitCode: 0 })
      expect(job.reason).toMatchObject({ code: 'ENGINE_EXIT' })
      expect(await outputs(job.receive())).toEqual(['said'])
    }
  })

  test('S40 its results may be saved to a file here instead', async () => {
    const job = await peers.laptop.start(counter, { ...thread, args: [3] })
    await job.wait()
    const path = peers.path('results')
    await job.save(path)
    expect(await readFile(path, 'utf8')).toBe(`${lines(1, 3).join('\n')}\n`)
    expect(job.hasMoreData).toBe(false)
    expect(await all(job.receive())).toEqual([])
  })
})

describe('what a job is given', () => {
  test('P18 P84 without a directory of its own it works in its caller’s; a thread knows it too', async () => {
    const here = process.cwd()
    const script = (ctx: ScriptContext): string[] => [ctx.cwd, process.cwd()]
    for (const engine of ['thread', 'process', 'runspace'] as const) {
      expect(await (await peers.laptop.start(script, { engine })).output()).toEqual([[here, here]])
    }
  })

  test('P30 differs: there is no `&`; a job has its caller’s directory, or the one it is given: with blanks and quotes too; one that is not there fails the job', async () => {
    const folder = peers.path(`a b 'c' "d"`)
    await mkdir(folder)
    const cwd = await realpath(folder)
    const job = await peers.laptop.start((ctx: ScriptContext) => [ctx.cwd, process.cwd()], { cwd })
    expect(await job.output()).toEqual([[cwd, cwd]])
    expect(await (await peers.laptop.start(['pwd'], { cwd })).output()).toEqual([cwd])
    for (const work of [pidOf, ['pwd'] as const]) {
      const lost: Job = await peers.laptop.start(work as typeof pidOf, { cwd: `${cwd}/not there` })
      await lost.finished
      expect(lost.state).toBe('Failed')
      expect(lost.reason?.message).toContain('not there')
    }
  })

  test('P20 arguments arrive in their order', async () => {
    const job = await peers.laptop.start((_ctx: ScriptContext, ...rest: number[]) => rest, {
      ...thread,
      args: [1, 2, 3],
    })
    expect(await job.output()).toEqual([[1, 2, 3]])
  })

  test('P27 differs: a name that comes from nowhere is refused before anything starts, and named', async () => {
    const before = (await peers.laptop.jobs()).length
    const name = 'somebody'
    expect(await refusal('free', () => peers.laptop.start(() => `Hi ${name}`))).toMatchObject({
      code: 'FREE_VARIABLE',
      names: ['name'],
    })
    expect(await peers.laptop.jobs()).toHaveLength(before)
  })

  test('P28 differs: the caller’s variables come along where they are named in `using`, and by that name', async () => {
    const [n1, n2] = [1, { deep: [2] }]
    const job = await peers.laptop.start(() => [n1, n2], { using: { n1, n2 } })
    expect(await job.output()).toEqual([[1, { deep: [2] }]])
    expect(await refusal('no name', () => peers.laptop.start(() => 1, { using: { 'n 3': 3 } }))).toMatchObject({
      code: 'SCRIPT',
    })
  })

  test('P29 differs: there is no `&`; process.pid in a job is the job’s own', async () => {
    const [pid] = await (await peers.laptop.start(pidOf)).output()
    expect(pid).not.toBe(process.pid)
  })

  test('P31 differs: there is no `&`; what a job sends elsewhere itself is not received: a shell’s redirection, a file it writes', async () => {
    const [file, errors] = [peers.path('out'), peers.path('err')]
    const job = await peers.laptop.start(['sh', '-c', 'echo out > "$0"; echo err 2> "$1" >&2', file, errors])
    await job.finished
    expect(job.state).toBe('Completed')
    expect(await all(job.receive())).toEqual([])
    expect([await readFile(file, 'utf8'), await readFile(errors, 'utf8')]).toEqual(['out\n', 'err\n'])
  })

  test('P32 differs: there is no `&`; an expression is its value, and so is one that goes through several steps', async () => {
    expect(await (await peers.laptop.start({ code: '2+3' }, thread)).output()).toEqual([5])
    const sum = 'Array.from({ length: 10 }, (_, i) => i + 1).reduce((sum, i) => sum + i)'
    expect(await (await peers.laptop.start({ code: sum }, thread)).output()).toEqual([55])
  })

  test('P73 a script with arguments, input, `using`, and both: of a function and of a file', async () => {
    const { laptop } = peers
    const limit = 40
    const base = { ...thread, using: { limit } }
    expect(await (await laptop.start(() => limit, base)).output()).toEqual([40])
    expect(await (await laptop.start((_ctx, more: number) => limit + more, { ...base, args: [2] })).output()).toEqual([
      42,
    ])
    const sum = async (ctx: ScriptContext): Promise<number> => {
      let all = 0
      for await (const value of ctx.input) all += value as number
      return all
    }
    expect(await (await laptop.start(sum, { ...thread, input: [1, 2, 3] })).output()).toEqual([6])
    const file = peers.path('script.mjs')
    await writeFile(file, 'export default (ctx, more) => 40 + more')
    const module = await readFile(file, 'utf8')
    expect(await (await laptop.start({ module, file }, { ...thread, args: [2] })).output()).toEqual([42])
  })

  test('P142 what its caller has set for itself does not travel: a script begins with the language as it is', async () => {
    const own = globalThis as { preference?: string }
    own.preference = 'Continue'
    try {
      for (const engine of ['thread', 'process', 'runspace'] as const) {
        const job = await peers.laptop.start(() => typeof (globalThis as { preference?: string }).preference, {
          engine,
        })
        expect(await job.output()).toEqual(['undefined'])
      }
    } finally {
      delete own.preference
    }
  })
})

describe('what is left', () => {
  test('P24 P67 the process is gone after completion, after a stop and after a removal by force', async () => {
    const done = await peers.laptop.start(pidOf)
    const [pid] = await done.output()
    await until('the process of what has completed is gone', () => !alive(pid!))
    for (const end of ['stop', 'remove'] as const) {
      const job = await peers.laptop.start(family)
      const pids = await outputs(job.receive({ follow: true, limit: 2 }))
      expect(pids.filter(alive)).toHaveLength(2)
      if (end === 'stop') await job.stop({ grace: 0 })
      else await job.remove({ force: true })
      // Not a moment later: that is what Stopped means.
      expect(pids.filter(alive)).toEqual([])
    }
  })

  test('P80 four jobs followed and removed: none is left', async () => {
    const jobs = await Promise.all(
      [1, 2, 3, 4].map((n) => peers.laptop.start(() => 'p80', { ...thread, name: `p80-${n}` })),
    )
    for (const job of jobs) expect(await outputs(job.receive({ follow: true, remove: true }))).toEqual(['p80'])
    expect(await peers.laptop.jobs({ name: 'p80-*' })).toEqual([])
  })

  test('P81 stopped, waiting for it or not: Stopped, and no error was added', async () => {
    const [first, second] = [await endless(), await endless()]
    expect((await first.stop({ grace: 0 })).state).toBe('Stopped')
    void second.stop({ grace: 0 })
    expect((await second.wait()).state).toBe('Stopped')
    for (const job of [first, second]) {
      expect(await all(job.receive())).toEqual([])
      expect(job.errorCount).toBe(0)
    }
  })

  test('stopping what waits for its turn: it never ran', async () => {
    const busy = await Promise.all(Array.from({ length: 5 }, () => endless()))
    const waiting = await peers.laptop.start(() => 'ran', thread)
    expect(waiting.state).toBe('NotStarted')
    await waiting.stop()
    expect(waiting).toMatchObject({ state: 'Stopped', begunAt: undefined })
    expect(await all(waiting.receive())).toEqual([])
    expect(waiting.hasMoreData).toBe(false)
    await Promise.all(busy.map((job) => job.stop({ grace: 0 })))
  })

  test('P83 found by instanceId, name, command in any case, state and number; what it is not is not found', async () => {
    const job = await peers.laptop.start(
      { code: '  p83.toUpperCase() ' },
      { ...thread, name: 'P83', using: { p83: 'x' } },
    )
    await job.finished
    const found = async (filter: Parameters<typeof peers.laptop.jobs>[0]): Promise<Job[]> =>
      (await peers.laptop.jobs(filter)).filter(({ id }) => id === job.id)
    for (const filter of [
      { name: 'p83' },
      { name: 'P8*' },
      { command: 'P83.TOUPPERCASE()' },
      { state: 'Completed' as const, name: 'p83' },
      { id: job.id },
    ]) {
      expect(await found(filter)).toEqual([job])
    }
    expect(await peers.laptop.job(job.instanceId)).toBe(job)
    for (const filter of [{ name: 'P8' }, { command: 'p83' }, { state: 'Failed' as const }, { id: job.id + 1000 }]) {
      expect(await found(filter)).toEqual([])
    }
  })
})

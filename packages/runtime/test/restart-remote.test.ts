// Restarts with another peer in it: sessions and what runs in them, on either side of a link.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createMemoryNetwork, type MemoryNetwork } from '@errand/transport/memory'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  codeOf,
  type Job,
  type PeerOptions,
  type ScriptContext,
  type Session,
  type SessionState,
} from '../src/index.ts'
import { Lives } from './support/lives.ts'
import { all, outputs, refusal, until } from './support/peers.ts'

let folder: string
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'errand-'))))
afterAll(() => rm(folder, { recursive: true, force: true }))
let files = 0
const path = (): string => join(folder, String(++files))
const thread = { engine: 'thread' } as const

/** Counts; before number n it waits for the file `gates[n]`. */
async function* counts(ctx: ScriptContext, to: number, gates: Record<number, string> = {}): AsyncGenerator<number> {
  const { existsSync } = process.getBuiltinModule('node:fs')
  for (let n = 0; n < to; n++) {
    while (gates[n] !== undefined && !existsSync(gates[n]!)) await ctx.sleep(5)
    yield n
  }
}
const upTo = (end: number): number[] => Array.from({ length: end }, (_, n) => n)
const said = async (job: Job, count: number): Promise<void> => {
  let seen = 0
  for await (const _ of job.receive({ follow: true, keep: true })) if (++seen === count) return
}

/** Two peers that are killed and started again; here may do work on far. */
class Two implements AsyncDisposable {
  readonly network: MemoryNetwork = createMemoryNetwork()
  readonly here: Lives
  readonly far: Lives

  private constructor(here: PeerOptions, far: PeerOptions) {
    const { network } = this
    this.here = new Lives({ name: 'here', network, policy: { peers: { far: [] } }, stopGrace: 0, ...here })
    const grants: PeerOptions['policy'] = { peers: { here: ['connect', 'run:script', 'run:command'] } }
    this.far = new Lives({ name: 'far', network, policy: grants, stopGrace: 0, ...far })
  }

  static async start(options: { here?: PeerOptions; far?: PeerOptions } = {}): Promise<Two> {
    const two = new Two(options.here ?? {}, options.far ?? {})
    await two.far.start()
    await two.here.start()
    return two
  }

  /** Far is there again, and here has noticed. */
  async answers(): Promise<void> {
    await until('far answers', () =>
      this.here.peer.sessions({ on: 'far' }).then(
        () => true,
        () => false,
      ),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.here[Symbol.asyncDispose]()
    await this.far[Symbol.asyncDispose]()
  }
}

describe('the peer that hosts a session was killed', () => {
  test('the session is there again for who had it, detached for everybody else, with an empty runspace and a warning', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far', { name: 'work', idleTimeout: '3h', env: { MINE: 'yes' } })
    await session.run(() => void ((globalThis as { kept?: number }).kept = 1))
    const done = await session.start(() => 'done', thread)
    await done.finished
    const running = await session.start(counts, { ...thread, args: [9, { 3: path() }] })
    await said(running, 3)
    const { id, instanceId } = session
    const far = two.far.disk.rows('session').find(({ key }) => key === instanceId)?.value as { id: number }
    await two.far.again()
    await until('it is back', () => session.state === 'Opened' && running.state === 'Failed')
    expect([session.id, session.instanceId, session.name]).toEqual([id, instanceId, 'work'])
    const [there] = await two.here.peer.sessions({ on: 'far' })
    expect([there!.epoch, there!.idleTimeout]).toEqual([2, 3 * 3_600_000])
    // The same objects, with the same numbers.
    expect([codeOf(running.reason), (await session.jobs()).map((job) => job.id)]).toEqual(['PEER_RESTARTED', [1, 2]])
    expect(await outputs(running.receive())).toEqual(upTo(3))
    expect(await done.output()).toEqual(['done'])
    expect((await session.start(() => 1, thread)).id).toBe(3)
    const run = session.run(() => [(globalThis as { kept?: number }).kept, process.env['MINE']])
    const records = await all(run.records())
    expect(records.map(({ kind }) => kind)).toEqual(['warning', 'output'])
    expect(await run).toEqual([undefined, 'yes'])
    // Its number is not given again over there either.
    await session.close()
    await two.far.again()
    await two.answers()
    const next = await two.here.peer.connect('far')
    const after = two.far.disk.rows('session').find(({ key }) => key === next.instanceId)?.value as { id: number }
    expect(after.id).toBeGreaterThan(far.id)
    expect(two.far.disk.rows('job')).toEqual([])
  })

  test('a reader goes on where it was', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far')
    const gate = path()
    const job = await session.start(counts, { ...thread, args: [6, { 3: gate }], restart: { times: 3, within: '1m' } })
    const seen: [number, string][] = []
    const reading = (async () => {
      for await (const { seq, kind } of job) seen.push([seq, kind])
    })()
    await until('three records', () => seen.length === 3)
    await two.far.again()
    await writeFile(gate, '')
    await reading
    expect(seen.map(([seq]) => seq)).toEqual(seen.map((_, seq) => seq))
    expect(seen.filter(([, kind]) => kind === 'output')).toHaveLength(3 + 6)
    expect(job.state).toBe('Completed')
  })

  test('a call that was under way is not made twice: what came of it is unknown', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far')
    const marks = path()
    const run = session.run(
      async (ctx: ScriptContext, file: string) => {
        process.getBuiltinModule('node:fs').appendFileSync(file, 'x')
        await ctx.sleep(60_000)
      },
      { args: [marks] },
    )
    const outcome = refusal('a run whose peer dies', () => run)
    const { readFileSync, existsSync } = await import('node:fs')
    // The file is there before it holds anything: the end of the peer could come between.
    await until('it runs', () => existsSync(marks) && readFileSync(marks, 'utf8') !== '')
    await two.far.again()
    expect(['JOB_NOT_FOUND', 'PEER_LOST', 'OUTCOME_UNKNOWN']).toContain(codeOf(await outcome))
    expect(readFileSync(marks, 'utf8')).toBe('x')
    expect(await session.run(() => 2)).toBe(2)
  })

  /** A run that has said three records, and whose client has left it: written down there. */
  async function leftRun(two: Two): Promise<{ session: Session; job: Job<number> }> {
    const session = await two.here.peer.connect('far')
    const job = await two.here.peer.start(counts, { on: session, args: [9, { 3: path() }] })
    await said(job, 3)
    await session.disconnect()
    await until('it is written down', () => two.far.disk.rows('job').length === 1)
    return { session, job }
  }

  test('a run whose client had left it is there with what it had said', async () => {
    await using two = await Two.start()
    const { session, job } = await leftRun(two)
    await two.far.again()
    await session.connect()
    const { state } = await job.finished
    expect([state, codeOf(job.children[0]!.reason)]).toEqual(['Failed', 'PEER_RESTARTED'])
    expect(await outputs(job.receive())).toEqual(upTo(3))
    // Read to its end, it is nobody's any more.
    await until('its row is gone', () => two.far.disk.rows('job').length === 0)
  })

  test('and also where that peer went down in order: it was stopped there, and says why', async () => {
    await using two = await Two.start()
    const { session, job } = await leftRun(two)
    await two.far.close()
    await two.far.start()
    await session.connect()
    const { state } = await job.finished
    expect([state, codeOf(job.children[0]!.reason)]).toEqual(['Stopped', 'PEER_SHUTDOWN'])
    expect(await outputs(job.receive())).toEqual(upTo(3))
    await until('its row is gone', () => two.far.disk.rows('job').length === 0)
  })

  test('after it went down in order a session is looked for again by itself: nobody has taken it', async () => {
    await using two = await Two.start()
    const sessions = [await two.here.peer.connect('far'), await two.here.peer.home('far')]
    const states: string[][] = sessions.map(() => [])
    const reasons: unknown[] = []
    const over = new AbortController()
    const watching = sessions.map(async (session, n) => {
      for await (const { state, reason } of session.watch({ signal: over.signal })) {
        states[n]!.push(state)
        reasons.push(codeOf(reason))
      }
    })
    await two.far.close()
    await two.far.start()
    await until('both are back', () => sessions.every(({ state }) => state === 'Opened'))
    over.abort()
    await Promise.all(watching)
    expect(reasons).not.toContain('SESSION_STATE')
    expect(states.flat()).not.toContain('Disconnected')
  })

  test('a temporary session does not come back, nor what it owned', async () => {
    await using two = await Two.start()
    const job = await two.here.peer.start(counts, { on: 'far', args: [9, { 3: path() }] })
    await said(job, 3)
    expect(two.far.disk.rows('session').map(({ value }) => (value as { kind: string }).kind)).toEqual(['local'])
    await two.far.again()
    const { state } = await job.finished
    expect(state).toBe('Failed')
    expect(await outputs(job.receive())).toEqual(upTo(3))
  })

  test('the idle timeout goes on counting', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far', { idleTimeout: '1h' })
    const job = await session.start(() => 1, thread)
    await job.finished
    await session.disconnect()
    const { key, value } = await until('it is written', () =>
      two.far.disk.rows('session').find(({ value: row }) => (row as { left?: unknown }).left !== undefined),
    )
    two.far.kill()
    const { left, ...row } = value as { left: { wall: number; up: number } }
    const ago = (ms: number): unknown => ({ ...left, wall: left.wall - ms, up: left.up - ms })
    two.far.disk.place('session', key, { ...row, left: ago(1_800_000) })
    await two.far.start()
    await two.answers()
    await session.connect()
    expect(session.state).toBe('Opened')
    two.far.kill()
    await until('that is heard', () => session.state !== 'Opened')
    two.far.disk.place('session', key, { ...row, left: ago(3_600_001) })
    await two.far.start()
    await until('it is gone', () => two.far.disk.rows('session').length === 1)
    expect([two.far.disk.rows('job'), two.far.disk.logs()]).toEqual([[], []])
    await until('it is broken', () => session.state === 'Broken')
    expect(codeOf(await refusal('a session that is gone', () => session.connect()))).toBe('SESSION_EXPIRED')
  })
})

describe('the peer that holds a session was killed', () => {
  test.each(['a session opened for the job', 'a session of its own'])(
    'its children are taken up again: %s',
    async (what) => {
      await using two = await Two.start()
      const on = what === 'a session opened for the job' ? 'far' : await two.here.peer.connect('far', { name: 'mine' })
      const [one, gate] = [path(), path()]
      const job = await two.here.peer.start(counts, { on, args: [2000, { 3: one, 1500: gate }] })
      await said(job, 3)
      await all(job.receive({ limit: 2 }))
      two.here.kill()
      await writeFile(one, '')
      const again = await two.here.start()
      const [found] = await again.jobs()
      expect([found!.instanceId, found!.children[0]!.instanceId]).toEqual([job.instanceId, job.children[0]!.instanceId])
      expect(found!.snapshot.history.map(({ state }) => state)).toContain('Disconnected')
      await until('it is at work', () => found!.state === 'Running')
      await writeFile(gate, '')
      expect((await found!.finished).state).toBe('Completed')
      expect(found!.children[0]!.snapshot.history.map(({ state }) => state)).toEqual([
        'NotStarted',
        'Running',
        'Disconnected',
        'Running',
        'Completed',
      ])
      expect(await outputs(found!.receive())).toEqual(upTo(2000).slice(2))
      expect((await all(found!.receive({ keep: true }))).length).toBe(0)
      const whole = await all(found!.children[0]!.receive({ from: 0 }))
      expect(whole.map(({ seq }) => seq)).toEqual(upTo(2000))
      if (typeof on === 'string') {
        await until('nothing is held', () => two.here.disk.rows('held').length === 0)
        return
      }
      const [session] = await again.sessions()
      expect([session!.id, session!.name, session!.instanceId, session!.state]).toEqual([
        on.id,
        'mine',
        on.instanceId,
        'Opened',
      ])
      expect(await (await again.session('mine')).run(() => 5)).toBe(5)
    },
  )

  test('what had ended over there meanwhile ends here, with all it said', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far')
    const gate = path()
    const job = await two.here.peer.start(counts, { on: session, args: [50, { 3: gate }] })
    await said(job, 3)
    two.here.kill()
    await writeFile(gate, '')
    await two.here.start()
    const found = await two.here.peer.job(job.instanceId)
    expect((await found.finished).state).toBe('Completed')
    expect(await outputs(found.receive())).toEqual(upTo(50))
  })

  test('a question of a remote child comes back, and is answered', async () => {
    await using two = await Two.start()
    const job = await two.here.peer.start((ctx: ScriptContext) => ctx.ask({ prompt: 'go on?' }), { on: 'far' })
    await until('it asks', () => job.question)
    await two.here.again()
    const found = await two.here.peer.job(job.instanceId)
    await until('it asks again', () => found.state === 'Blocked' && found.question)
    await found.answer('yes')
    expect(await found.output()).toEqual(['yes'])
  })

  test('a child whose session is over by then is lost, and says so', async () => {
    await using two = await Two.start({ far: { temporaryLease: 50 } })
    const job = await two.here.peer.start(counts, { on: 'far', args: [9, { 3: path() }] })
    await said(job, 3)
    two.here.kill()
    await two.far.again()
    await two.here.start()
    const found = await two.here.peer.job(job.instanceId)
    expect((await found.finished).state).toBe('Failed')
    expect(codeOf(found.children[0]!.reason)).toBe('PEER_LOST')
    expect(await outputs(found.receive())).toEqual(upTo(3))
  })

  test('or when it cannot be reached for as long as is tried', async () => {
    await using two = await Two.start({ here: { lostAfter: 100 } })
    const job = await two.here.peer.start(counts, { on: 'far', args: [9, { 3: path() }] })
    await said(job, 3)
    two.here.kill()
    two.far.kill()
    await two.here.start()
    const found = await two.here.peer.job(job.instanceId)
    expect((await found.finished).state).toBe('Failed')
    expect(codeOf(found.children[0]!.reason)).toBe('PEER_LOST')
  })

  test('children whose turn had not come still get it', async () => {
    await using two = await Two.start()
    const gate = path()
    const on = [await two.here.peer.connect('far'), await two.here.peer.connect('far')]
    const job = await two.here.peer.start(counts, { on, throttle: 1, args: [5, { 3: gate }] })
    await said(job.children[0]!, 3)
    expect(job.children.map(({ state }) => state)).toEqual(['Running', 'NotStarted'])
    await two.here.again()
    const found = await two.here.peer.job(job.instanceId)
    await until('the first is back', () => found.children[0]!.state === 'Running')
    await writeFile(gate, '')
    expect((await found.finished).state).toBe('Completed')
    for (const child of found.children) expect(await outputs(child.receive())).toEqual(upTo(5))
  })

  test('a session that was disconnected by command stays so until it is asked for', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far', { name: 'left' })
    const gate = path()
    const job = await two.here.peer.start(counts, { on: session, args: [20, { 3: gate }] })
    await said(job, 3)
    await session.disconnect()
    await until('that is written', () => (two.here.disk.rows('held')[0]?.value as { left?: boolean } | undefined)?.left)
    await two.here.again()
    const again = await two.here.peer.session('left')
    const found = await two.here.peer.job(job.instanceId)
    expect([again.state, found.state]).toEqual(['Disconnected', 'Disconnected'])
    await writeFile(gate, '')
    const received = await again.receive()
    expect(received?.instanceId).toBe(job.instanceId)
    expect((await found.finished).state).toBe('Completed')
    expect(await outputs(found.receive())).toEqual(upTo(20))
  })

  test('one that was given up is looked out for as it was wished, unless it was left by command since', async () => {
    await using two = await Two.start()
    const wish = { lostAfter: 100, reconnect: true }
    for (const name of ['wanted', 'left']) await two.here.peer.connect('far', { ...wish, name })
    const states = async (): Promise<SessionState[]> => (await two.here.peer.sessions()).map(({ state }) => state)
    const givenUp = until('they are given up', async () => (await states()).every((state) => state === 'Disconnected'))
    two.network.cut('here', 'far')
    two.network.lose('here', 'far')
    await givenUp
    await (await two.here.peer.session('left')).disconnect()
    const written = (): boolean => two.here.disk.rows('held').some(({ value }) => (value as { left: boolean }).left)
    await until('that is written', written)
    await two.here.again()
    await until('it is given up again', async () => (await states()).every((state) => state === 'Disconnected'))
    two.network.heal('here', 'far')
    await until('the wanted one is back', async () => (await states())[0] === 'Opened')
    expect(await states()).toEqual(['Opened', 'Disconnected'])
  })

  test('a run whose session was lost under it is a job like any other, and is received', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far', { lostAfter: 100, reconnect: true, name: 'work' })
    const gate = path()
    const run = two.here.peer.run(counts, { on: session, args: [6, { 3: gate }], name: 'called' })
    const came: number[] = []
    const reading = (async () => {
      for await (const n of run) came.push(n)
    })()
    reading.catch(() => undefined) // looked at below
    await until('three have come', () => came.length === 3)
    two.network.cut('here', 'far')
    two.network.lose('here', 'far')
    expect(codeOf(await refusal('the run', () => reading))).toBe('PEER_LOST')
    await two.here.again()
    const found = await two.here.peer.job('called')
    expect([found.id, found.state, found.children[0]!.name]).toEqual([1, 'Disconnected', 'called.1'])
    two.network.heal('here', 'far')
    await writeFile(gate, '')
    expect(await outputs(found.receive({ follow: true })), 'behind what its caller had').toEqual([3, 4, 5])
    expect((await found.finished).state).toBe('Completed')
    expect(await outputs(found.children[0]!.receive({ from: 0 }))).toEqual(upTo(6))
    expect((await (await two.here.peer.start(() => 1)).wait()).id).toBe(2)
    await found.remove()
    await two.here.again()
    expect(two.here.disk.rows('job').map(({ value }) => (value as { id: number }).id)).toEqual([2])
  })

  test('after a close in order as well', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far')
    const gate = path()
    const job = await two.here.peer.start(counts, { on: session, args: [20, { 3: gate }] })
    await said(job, 3)
    await two.here.close()
    await writeFile(gate, '')
    await two.here.start()
    const found = await two.here.peer.job(job.instanceId)
    expect((await found.finished).state).toBe('Completed')
    expect(await outputs(found.receive())).toEqual(upTo(20))
  })

  test('after a close in order that could not reach it: what was put into a session of its own too', async () => {
    await using two = await Two.start()
    const gate = path()
    const job = await two.here.peer.start(counts, { on: 'far', args: [6, { 3: gate }] })
    await said(job, 3)
    two.network.cut('here', 'far')
    two.network.lose('here', 'far')
    await job.wait({ for: ['Disconnected'] })
    await two.here.close()
    two.network.heal('here', 'far')
    await writeFile(gate, '')
    await two.here.start()
    const found = await two.here.peer.job(job.instanceId)
    expect((await found.finished).state).toBe('Completed')
    expect(await outputs(found.receive())).toEqual(upTo(6))
  })

  test('both were', async () => {
    await using two = await Two.start()
    const session = await two.here.peer.connect('far')
    const job = await session.start(counts, { ...thread, args: [9, { 3: path() }] })
    await said(job, 3)
    two.here.kill()
    two.far.kill()
    await two.far.start()
    await two.here.start()
    const again = await two.here.peer.session(session.instanceId)
    const [found] = await again.jobs()
    expect([found!.instanceId, codeOf(found!.reason)]).toEqual([job.instanceId, 'PEER_RESTARTED'])
    expect(await outputs(found!.receive())).toEqual(upTo(3))
  })
})

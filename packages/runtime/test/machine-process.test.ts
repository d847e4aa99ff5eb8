// A machine in a process of its own may do there what it likes: that is its own end, and nobody else's.
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createChunkWriter, decode, encode } from '@errand/transport'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { waitFor, type AnyActorRef } from 'xstate'
import { createPeer, defineMachine, type Job, type Peer, type Ref, type Session } from '../src/index.ts'
import type { ActorState } from '../src/actor-state.ts'
import type { ActorInspection } from '../src/actor-surface.ts'
import type { Execution, ExecutionIO } from '../src/engine/engine.ts'
import { LaneChannel } from '../src/engine/lane.ts'
import { MachineIsolate } from '../src/engine/machine-isolate.ts'
import { MachineProcesses } from '../src/engine/machine-processes.ts'
import { ASK_BYTES_UNDER_WAY, ProcessActor, BATCHES_UNDER_WAY } from '../src/engine/process-actor.ts'
import { EVENTS_KEPT } from '../src/event-feed.ts'
import type { HostedActor } from '../src/hosted-actor.ts'
import type { Ending } from '../src/job-machine.ts'
import type { Link } from '../src/link.ts'
import { ACTOR_LOG_BYTES } from '../src/output-log.ts'
import type { SessionSnapshot } from '../src/surface.ts'
import { ACTOR_ASKS_MOST, INBOX_MOST, type WorkSpec } from '../src/wire.ts'
import * as threads from './fixtures/machines.ts'
import { counter, greedy, machines, wild } from './fixtures/process-machines.ts'
import { pair, type Pair } from './support/pair.ts'
import { alive, all, Peers, refusal, until, within } from './support/peers.ts'

const here = new URL('./fixtures/process-machines.ts', import.meta.url)
const GRANTS = ['connect', ...machines.map(({ name }) => `spawn:${name}` as const), 'spawn:calm'] as const
/** The same as `counter`, on the thread of its peer. */
const { machine, events } = threads.counter
const calm = defineMachine({ name: 'calm', machine, events })

let two: Pair
let session: Session
beforeAll(async () => {
  two = await pair({ far: { machines: [...machines, calm], policy: { peers: { here: [...GRANTS] } } } })
  session = await two.here.connect('far')
})
afterAll(() => two[Symbol.asyncDispose]())

const jobOf = (of: Peer | Session, ref: Ref<any>): Promise<Job> => of.job(ref.address.path.split('/')[1]!)
const pidOf = async (ref: Ref<typeof wild>): Promise<number> => {
  const told = await within('its process', ref.ask<number>({ type: 'pid' }))
  if (told.outcome !== 'ok') throw told.error
  return told.value
}
const batch = (...events: object[]): Uint8Array => {
  const writer = createChunkWriter()
  for (const event of events) writer.add(event)
  return writer.finish()
}
/** It loops, and has said so. */
const spinning = async (ref: Ref<typeof wild>, of: Peer | Session = session): Promise<void> => {
  await within('that it has heard of it', ref.tell({ type: 'spin soon' }))
  const said = async (): Promise<void> => {
    for await (const record of (await jobOf(of, ref)).receive({ follow: true, keep: true, reader: 'test' })) {
      if (record.kind === 'information' && record.value === 'it loops') return
    }
    throw new Error('it has ended')
  }
  await within('that it loops', said())
}
const over = (ref: Ref<any>): Promise<unknown> => until('that it is gone', () => ref.state === 'gone')
const dead = (pid: number): Promise<unknown> => until(`that ${pid} is gone`, () => !alive(pid))

describe('the definition', () => {
  const plain = { name: 'x', machine, events }
  const module = import.meta.url

  test('says what is missing', () => {
    const refused = (more: object): unknown => {
      try {
        defineMachine({ ...plain, ...more })
      } catch (error) {
        return error
      }
      throw new Error('it was not refused')
    }
    const usage = (text: string): object => ({ code: 'USAGE', message: expect.stringContaining(text) })
    expect(refused({ isolate: 'process' })).toMatchObject(usage('no `module`'))
    expect(refused({ isolate: 'thread', module })).toMatchObject(usage("'thread'"))
    expect(refused({ isolate: 'process', module: './x.ts' })).toMatchObject(usage('file: URL'))
    expect(refused({ isolate: 'process', module, durable: true })).toMatchObject(usage('durable'))
    expect(refused({ maxMemory: 64 })).toMatchObject(usage('`maxMemory`'))
    expect(refused({ isolate: 'process', module, maxMemory: 31 })).toMatchObject(usage('from 32 to 1048576'))
    expect(refused({ isolate: 'process', module, maxMemory: 1.5 })).toMatchObject(usage('whole number'))
    expect(defineMachine({ ...plain, module: new URL(module), isolate: 'process', maxMemory: 32 })).toMatchObject({
      module,
      isolate: 'process',
      maxMemory: 32,
    })
  })

  test('is not offered where its file is not there', async () => {
    const lost = defineMachine({ ...plain, module: new URL('nowhere.ts', module), isolate: 'process' })
    const no = await refusal('the peer', () => createPeer({ machines: [lost] }))
    expect(no).toMatchObject({ code: 'USAGE', message: expect.stringMatching(/module of machine 'x' is not there/) })
  })

  test('is not spawned where its file cannot be imported, or does not export it', async () => {
    const from = (name: string, file: string) =>
      defineMachine({ ...plain, name, module: new URL(`./fixtures/${file}.ts`, module), isolate: 'process' })
    const broken = from('broken', 'machines-broken')
    const hidden = from('hidden', 'process-machines')
    await using peer = await createPeer({ name: 'offering', machines: [broken, hidden] })
    expect(await refusal('spawn', () => peer.spawn(broken))).toMatchObject({
      code: 'JOB_MODULE',
      message: expect.stringMatching(/machine 'broken'.*machines-broken\.ts.*this file breaks/),
      cause: { name: 'RangeError' },
    })
    expect(await refusal('spawn', () => peer.spawn(hidden))).toMatchObject({
      code: 'JOB_MODULE',
      message: expect.stringMatching(/does not export it; it exports.*'counter'.*'wild'/),
    })
    const jobs = await peer.jobs()
    expect(jobs.map(({ state }) => state)).toEqual(['Failed', 'Failed'])
    await Promise.all(jobs.map(({ snapshot }) => dead(snapshot.pid!)))
  })

  test('may take for ever to be imported, and be stopped meanwhile', async () => {
    const endless = defineMachine({
      ...plain,
      name: 'endless',
      module: new URL('./fixtures/machines-endless.ts', module),
      isolate: 'process',
    })
    await using peer = await createPeer({ name: 'offering', machines: [endless] })
    const left = new AbortController()
    const spawning = peer.spawn(endless, { signal: left.signal })
    const job = await until('its process', async () => (await peer.jobs()).find(({ snapshot }) => snapshot.pid))
    expect(job.state).toBe('NotStarted')
    const { pid } = job.snapshot
    // What it is asked meanwhile has no answer; whoever asks is told so, in time.
    const ref = peer.ref<typeof counter>({ peer: 'local', path: `${job.snapshot.session}/${job.instanceId}`, epoch: 1 })
    expect(await (await ref).ask({ type: 'total' }, { timeout: 20 })).toMatchObject({ outcome: 'unknown' })
    left.abort(new Error('enough'))
    expect(await refusal('spawn', () => spawning)).toMatchObject({ message: 'enough' })
    expect(await within('the stop', job.stop())).toMatchObject({ state: 'Stopped' })
    expect(alive(pid!)).toBe(false)
  })
})

describe('one that loops', () => {
  test('holds up nobody but itself, and is stopped', async () => {
    const ref = await session.spawn(wild)
    const pid = await pidOf(ref)
    const sibling = await session.spawn(wild)
    const other = await session.spawn(calm)
    const monitor = two.here.monitor(ref)
    await spinning(ref)
    expect(await ref.ask({ type: 'pid' }, { timeout: 50 })).toMatchObject({
      outcome: 'unknown',
      error: { code: 'OUTCOME_UNKNOWN', message: expect.stringMatching(/gave no answer within \d+ ms/) },
    })
    await within('an answer', two.here.sessions({ on: 'far' }))
    expect(await other.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 0 })
    expect(await pidOf(sibling)).not.toBe(pid)
    expect((await jobOf(session, ref)).state).toBe('Running')
    ref.stop()
    expect(await within('the notice', all(monitor))).toMatchObject([{ reason: 'stopped' }])
    expect(alive(pid)).toBe(false)
    expect(ref.getSnapshot()).toMatchObject({ status: 'stopped', value: 'going' })
    expect(await pidOf(sibling)).toBeGreaterThan(0)
  })

  test('while it handles what it was sent: who asks next is not kept waiting for longer than he said', async () => {
    const ref = await session.spawn(wild)
    ref.send({ type: 'spin' })
    expect(await within('an answer', ref.ask({ type: 'pid' }, { timeout: 20 }))).toMatchObject({ outcome: 'unknown' })
    ref.stop()
    await over(ref)
  })

  test('from its first moment on is spawned by nobody who gives up, and stopped', async () => {
    const left = new AbortController()
    const spawning = session.spawn(wild, { input: { spins: true }, name: 'spins', signal: left.signal })
    const job = await until('its process', async () =>
      (await session.jobs({ name: 'spins' })).find(({ snapshot }) => snapshot.pid),
    )
    left.abort(new Error('enough'))
    expect(await refusal('spawn', () => spawning)).toMatchObject({ message: 'enough' })
    expect(await within('the stop', job.stop({ grace: 0 }))).toMatchObject({ state: 'Stopped' })
    expect(alive(job.snapshot.pid!)).toBe(false)
  })

  test('is made to stand still, and goes on', async () => {
    const ref = await session.spawn(wild)
    const pid = await pidOf(ref)
    const job = await jobOf(session, ref)
    await spinning(ref)
    expect(await within('that it stands still', job.suspend())).toMatchObject({ state: 'Suspended' })
    const stateOf = (): string => readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, '')[0]!
    await until('that it is stopped', () => stateOf() === 'T')
    expect(await job.resume()).toMatchObject({ state: 'Running' })
    await until('that it runs', () => stateOf() === 'R')
    await job.suspend()
    // What stands still is stopped all the same.
    expect(await within('the stop', job.stop({ grace: 0 }))).toMatchObject({ state: 'Stopped' })
    expect(alive(pid)).toBe(false)
  })
})

describe('one that lets go of its process', () => {
  test('stands still between two events, can be looked at meanwhile, and goes on', async () => {
    const ref = await session.spawn(wild)
    const job = await jobOf(session, ref)
    await ref.tell({ type: 'note', n: 1 })
    await job.suspend()
    const told = [2, 3].map((n) => ref.tell({ type: 'note', n }))
    // They are in the inbox, and stay there.
    await Promise.all(told)
    expect(ref.getSnapshot().context.notes).toEqual([1])
    await job.resume()
    expect(await ref.ask({ type: 'notes' })).toEqual({ outcome: 'ok', value: [1, 2, 3] })
  })

  test('is stopped by its own hand, whatever grace it is given', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'errand-'))
    const leaves = join(folder, 'left')
    const ref = await session.spawn(wild, { input: { leaves } })
    const pid = await pidOf(ref)
    await ref.tell({ type: 'note', n: 1 })
    ref.stop()
    await over(ref)
    expect(ref.getSnapshot()).toMatchObject({ status: 'stopped', context: { notes: [1] } })
    expect(readFileSync(leaves, 'utf8')).toBe('left in order')
    expect(alive(pid)).toBe(false)
    await rm(folder, { recursive: true })
  })

  test('has its records, also those of a program in it', async () => {
    const ref = await session.spawn(wild)
    const job = await jobOf(session, ref)
    ref.send({ type: 'print', text: 'said past the machine' })
    ref.send({ type: 'say', bytes: 3 })
    await pidOf(ref)
    await until('its lines', async () => (await jobOf(session, ref)).snapshot.errorCount === 1)
    ref.send({ type: 'finish' })
    await over(ref)
    const records = await all(job.receive())
    expect(
      records.map((one) => [one.kind, 'value' in one ? one.value : (one as { error: Error }).error.message]),
    ).toEqual(
      expect.arrayContaining([
        ['information', 'said past the machine'],
        ['error', 'wrong: said past the machine'],
        ['output', { type: 'said', text: 'xxx' }],
        ['output', []],
      ]),
    )
    expect(records.at(-1)).toMatchObject({ kind: 'output', value: [] })
  })

  test('sends to others, wherever they are, from its process', async () => {
    const [wildOne, thread, process] = await Promise.all([
      session.spawn(wild),
      session.spawn(calm),
      session.spawn(counter),
    ])
    for (const to of [thread, process]) {
      wildOne.send({ type: 'flood', to: to.address, count: 2_000 })
      await waitFor(to as never as AnyActorRef, ({ context }) => context.count === 2_000)
    }
    // Nobody is there: that is nobody's end.
    wildOne.send({ type: 'flood', to: { ...thread.address, path: `x/${crypto.randomUUID()}` }, count: 3 })
    wildOne.send({ type: 'flood', to: { ...thread.address, peer: 'nobody at all' }, count: 3 })
    expect(await pidOf(wildOne)).toBeGreaterThan(0)
  })
})

describe('what one has sent to others before it ended', () => {
  test('is delivered, as from the thread', async () => {
    const [wildOne, to] = await Promise.all([session.spawn(wild), session.spawn(calm)])
    const job = await jobOf(session, wildOne)
    wildOne.send({ type: 'flood', to: to.address, count: 5_000 })
    wildOne.send({ type: 'finish' })
    expect((await within('its end', job.finished)).state).toBe('Completed')
    expect(await to.ask({ type: 'total' })).toEqual({ outcome: 'ok', value: 5_000 })
  })
  test('does not keep it from its end where nobody takes it', async () => {
    const [wildOne, to] = await Promise.all([session.spawn(wild), session.spawn(calm)])
    const [job, still] = [await jobOf(session, wildOne), await jobOf(session, to)]
    await still.suspend()
    wildOne.send({ type: 'flood', to: to.address, count: INBOX_MOST + 1_000 })
    wildOne.send({ type: 'finish' })
    expect((await within('its end', job.finished)).state).toBe('Completed')
    await still.resume()
    const told = await to.ask<number>({ type: 'total' })
    expect((told as { value?: number }).value).toBeGreaterThanOrEqual(INBOX_MOST)
  })
})

describe('what is seen of one', () => {
  const job = { peer: 'me', session: 'here', instanceId: crypto.randomUUID() }
  let processes: MachineProcesses
  beforeAll(() => void (processes = new MachineProcesses(() => Promise.reject(new Error('nobody is sent to')))))
  afterAll(() => processes[Symbol.asyncDispose]())

  /** As a job begins it. */
  const begun = (): { execution: Execution; actor: HostedActor; ended: Promise<Ending> } => {
    const { promise: ended, resolve } = Promise.withResolvers<Ending>()
    const work: WorkSpec = { kind: 'machine', job: 'wild', command: 'wild', startId: '' }
    const spec = { job: job.instanceId, work, location: 'here', session: {} as SessionSnapshot }
    const execution = processes.start(wild, spec, { chunk() {}, ended: resolve })
    return { execution, actor: execution.actor!, ended }
  }
  const note = (n: number): Parameters<HostedActor['tell']> => ['me', n, 1, batch({ type: 'note', n })]

  test('is what it says itself, at its address', async () => {
    const { execution, actor, ended } = begun()
    await actor.tell(...note(1))
    const unwatch = actor.watch(() => undefined)
    // Before it is told to anybody it is there to be asked.
    const seen = await within('what it is', Promise.all([actor.inspect(job), actor.inspect(job)]))
    for (const one of seen) {
      expect(one).toMatchObject({
        address: { peer: 'me', path: `here/${job.instanceId}`, epoch: 1, machine: 'wild' },
        machine: 'wild',
        durable: false,
        status: 'active',
        value: 'going',
        context: { notes: [1] },
        watchers: 1,
        transitions: [{ event: 'note', from: 'going', to: 'going' }],
      })
    }
    unwatch()
    execution.stop({ grace: 0 })
    expect(await within('its end', ended)).toEqual({ outcome: 'stopped' })
    expect(await refusal('inspect', async () => actor.inspect(job))).toMatchObject({ code: 'ACTOR_GONE' })
  })

  test('is refused where it is busy for long', async () => {
    const { execution, actor, ended } = begun()
    const told = refusal('tell', () => actor.tell('me', 1, 1, batch({ type: 'spin' })))
    expect(await refusal('inspect', async () => actor.inspect(job))).toMatchObject({ code: 'TIMEOUT' })
    execution.stop({ grace: 0 })
    expect(await within('its end', ended)).toMatchObject({ outcome: 'stopped' })
    expect(await told).toMatchObject({ code: 'ACTOR_GONE' })
  })

  test('is told as it happens, to its end, also to who asks late', async () => {
    const { actor, ended } = begun()
    const first = await actor.happened(undefined, undefined)
    expect(first).toMatchObject({ begins: true, events: [] })
    // It is followed over there from here on.
    await actor.inspect(job)
    await actor.tell(...note(1))
    const second = await within('what happened', actor.happened(first.cursor, undefined))
    expect(second.events).toMatchObject([{ event: 'note' }])
    const left = new AbortController()
    const waiting = refusal('what happens', () => actor.happened(second.cursor, left.signal))
    left.abort(new Error('enough'))
    expect(await waiting).toMatchObject({ message: 'enough' })
    await actor.tell('me', 2, 2, batch({ type: 'note', n: 2 }, { type: 'finish' }))
    expect(await within('its end', ended)).toMatchObject({ outcome: 'completed' })
    // Its process is gone, and what happened last in it is here.
    const last = await actor.happened(second.cursor, undefined)
    expect(last.events).toMatchObject([{ event: 'note' }, { event: 'finish', to: 'finished' }])
    expect(await refusal('more', () => actor.happened(last.cursor, undefined))).toMatchObject({ code: 'ACTOR_GONE' })
    expect(actor.state()).toBeUndefined() // nobody watched
  })

  test('is not told in full to who is too far behind: he looks anew', async () => {
    const { execution, actor, ended } = begun()
    const first = await actor.happened(undefined, undefined)
    await actor.inspect(job)
    const many = 8 * EVENTS_KEPT
    for (let n = 1; n <= many; n += 256) {
      const events = Array.from({ length: 256 }, (_, at) => ({ type: 'note', n: n + at }))
      await actor.tell('me', n, 256, batch(...events))
    }
    const next = await within('what happened', actor.happened(first.cursor, undefined))
    expect(next).toMatchObject({ begins: true, events: [] })
    await actor.tell(...note(many + 1))
    // None is missing from there on.
    let { cursor } = next
    const seqs: number[] = []
    while (seqs.at(-1) !== many + 1) {
      const more = await within('the rest', actor.happened(cursor, undefined))
      if (more.begins) seqs.length = 0
      cursor = more.cursor
      seqs.push(...more.events.map(({ seq }) => seq))
    }
    expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, at) => many + 2 - seqs.length + at))
    execution.stop({ grace: 0 })
    await ended
  })

  test('is nothing of questions that were given up: they take no place', async () => {
    const { execution, actor, ended } = begun()
    const event = encode({ type: 'note', n: 1 })
    const left = new AbortController()
    const asking = Array.from({ length: ACTOR_ASKS_MOST }, () =>
      actor.ask(event, 3_600_000, left.signal).catch((error: unknown) => error),
    )
    expect(await refusal('ask', () => actor.ask(event, 1))).toMatchObject({ code: 'LIMIT' })
    left.abort(new Error('enough'))
    for (const error of await within('their end', Promise.all(asking)))
      expect(error).toMatchObject({ cause: { message: 'enough' } })
    await until('that there is room', async () => {
      const error = await actor.ask(event, 1).catch((thrown: unknown) => thrown)
      return (error as { code?: string }).code === 'OUTCOME_UNKNOWN'
    })
    execution.stop({ grace: 0 })
    await ended
  })

  test('is its last state, where somebody watched', async () => {
    const { actor, ended } = begun()
    const values: unknown[] = []
    actor.watch(({ status, value }) => values.push([status, value]))
    await actor.tell('me', 1, 1, batch({ type: 'finish' }))
    await within('its end', ended)
    expect(values.at(-1)).toEqual(['done', 'finished'])
    expect(actor.state()).toMatchObject({ status: 'done', value: 'finished' })
  })
})

describe('a process that ends', () => {
  const ends: Record<string, { act: (ref: Ref<typeof wild>) => void; how: RegExp; of?: typeof wild }> = {
    'by the word of its machine': { act: (ref) => ref.send({ type: 'exit', code: 7 }), how: /exited with code 7/ },
    'though all seems well': { act: (ref) => ref.send({ type: 'exit', code: 0 }), how: /exited with code 0/ },
    'by its own hand': { act: (ref) => ref.send({ type: 'kill' }), how: /was killed by SIGKILL/ },
    'for what nobody catches': { act: (ref) => ref.send({ type: 'stray' }), how: /exited with code 1/ },
    'for want of memory': {
      act: (ref) => ref.send({ type: 'leak' }),
      how: /ran out of memory: its limit is 64 MiB \(maxMemory\)/,
      of: greedy as unknown as typeof wild,
    },
    'for asking what no machine asks': {
      act: (ref) => ref.send({ type: 'forge' }),
      how: /was ended: it said what no machine says/,
    },
    'for writing what no isolate says': {
      act: (ref) => ref.send({ type: 'scribble' }),
      how: /killed by SIGKILL|exited with code 1/,
    },
  }

  test.each(Object.entries(ends))(
    '%s is the end of its actor, and of nobody else',
    async (_, { act, how, of = wild }) => {
      const ref = await session.spawn(of)
      const pid = await pidOf(ref)
      const sibling = await session.spawn(of)
      const job = await jobOf(session, ref)
      const failed: unknown[] = []
      ref.subscribe({ error: (error) => failed.push(error) })
      const told = all(two.here.monitor(ref))
      act(ref)
      const reason = { code: 'ENGINE_EXIT', message: expect.stringMatching(how) }
      expect(await within('the notice', told)).toMatchObject([{ reason: 'error', error: reason }])
      await over(ref)
      expect(failed).toMatchObject([reason])
      expect(await job.wait()).toMatchObject({ state: 'Failed', reason })
      expect(alive(pid)).toBe(false)
      expect(await refusal('send', async () => ref.send({ type: 'pid' }))).toMatchObject({ code: 'ACTOR_GONE' })
      expect(await refusal('tell', () => ref.tell({ type: 'pid' }))).toMatchObject({ code: 'ACTOR_GONE' })
      expect(await pidOf(sibling)).not.toBe(pid)
      await within('an answer', two.here.sessions({ on: 'far' }))
      sibling.stop()
      await over(sibling)
    },
  )

  test('killed from outside: nobody can say of what was asked whether it was handled, and what was told is lost', async () => {
    const ref = await session.spawn(wild)
    const pid = await pidOf(ref)
    const told = all(two.here.monitor(ref))
    await spinning(ref)
    const asked = ref.ask({ type: 'notes' })
    const tell = refusal('tell', () => ref.tell({ type: 'note', n: 1 }))
    // Both are on their way to the process, and it does not read.
    expect(await ref.ask({ type: 'pid' }, { timeout: 20 })).toMatchObject({ outcome: 'unknown' })
    process.kill(pid, 'SIGKILL')
    expect(await within('the notice', told)).toMatchObject([
      { reason: 'error', error: { code: 'ENGINE_EXIT', signal: 'SIGKILL' } },
    ])
    expect(await asked).toMatchObject({ outcome: 'unknown', error: { code: 'OUTCOME_UNKNOWN' } })
    expect(await tell).toMatchObject({ code: 'ACTOR_GONE' })
  })

  test('gives its name back', async () => {
    const ref = await two.far.spawn(wild, { register: 'only-one' })
    const no = await refusal('spawn', () => two.far.spawn(wild, { register: 'only-one' }))
    expect(no).toMatchObject({ code: 'NAME_TAKEN' })
    ref.send({ type: 'kill' })
    await over(ref)
    const next = await two.far.spawn(wild, { register: 'only-one' })
    expect(await pidOf(next)).toBeGreaterThan(0)
  })

  test('takes along what it has started', async () => {
    const ref = await session.spawn(wild)
    const started = await ref.ask<number>({ type: 'start', seconds: 600 })
    if (started.outcome !== 'ok') throw started.error
    expect(alive(started.value)).toBe(true)
    ref.send({ type: 'finish' })
    await over(ref)
    expect(ref.getSnapshot().status).toBe('done')
    expect(alive(started.value)).toBe(false)
  })
})

/** What is in a process, without one: `post` is what it says on its link. */
const inside = (post: (message: any) => Promise<void> | void, io: Partial<ExecutionIO> = {}) => {
  const channel = new LaneChannel('peer', (value) => post(decode(value!)))
  const isolate = new MachineIsolate(channel)
  const work = { kind: 'machine', job: 'wild', command: 'wild', startId: '', module: here.href } as const
  const spec = { job: 'job', work, location: 'here', session: {} as SessionSnapshot }
  const execution = isolate.start(spec, { chunk() {}, ended() {}, ...io })
  return { isolate, execution, say: (message: object) => channel.deliver(encode(message)) }
}

describe('the inside of a process', () => {
  const to = { job: 'job' }
  const tell = (seq: number, ...events: object[]): object => ({
    t: 'ask',
    id: 1000 + seq,
    to,
    event: { type: 'actor.tell', epoch: 1, from: 'me', seq, count: events.length, bytes: batch(...events) },
  })

  test('shows one state at a time: the next one is how it is when that has left', async () => {
    // As a pipe does that nobody reads at the other end.
    let full = Promise.withResolvers<void>()
    const states: ActorState[] = []
    const { isolate, execution, say } = inside((message) => {
      if (message.t !== 'state') return undefined
      states.push(message.snapshot ?? message.changed)
      return full.promise
    })
    say({ t: 'watch', w: 1, to: { ...to, actor: 1 } })
    await until('its first state', () => states.length === 1)
    const left = new AbortController().signal
    const notes = async (): Promise<unknown[]> => {
      const seen = (await isolate.handle(undefined as never, to, { type: 'actor.inspect' }, 1, left)) as ActorInspection
      return (seen.context as { notes: unknown[] }).notes
    }
    const many = 50
    for (let n = 1; n <= many; n++) {
      // A turn of its own for each: each would be a state.
      say(tell(n, { type: 'note', n }))
      await until('that it has it', async () => (await notes()).length === n)
    }
    expect(states).toHaveLength(1)
    full.resolve()
    full = Promise.withResolvers()
    await until('the next one', () => states.length === 2)
    expect((decode(states[1]!.context!) as { notes: unknown[] }).notes).toHaveLength(many)
    execution.stop({ grace: 0 })
  })

  test('says what is waited for before it says how it ended, for then its process goes', async () => {
    const said: string[] = []
    let cursor = ''
    const ended = Promise.withResolvers<Ending>()
    const { say } = inside(
      ({ t, id, value, error, snapshot, changed }) => {
        if (id === 1) cursor = value.cursor
        said.push(id === undefined ? `${t} ${(snapshot ?? changed).status ?? ''}` : `${t} ${id} ${error?.code ?? ''}`)
      },
      {
        ended: (ending) => {
          said.push('ended')
          ended.resolve(ending)
        },
      },
    )
    const transitions = { type: 'actor.transitions' as const }
    say({ t: 'watch', w: 1, to: { ...to, actor: 1 } })
    say({ t: 'ask', id: 1, to, event: transitions })
    await until('that it is followed', () => cursor !== '')
    say({ t: 'ask', id: 2, to, event: { ...transitions, cursor } })
    say({
      t: 'ask',
      id: 3,
      to,
      event: { type: 'actor.ask', epoch: 1, event: encode({ type: 'note' }), timeout: 60_000 },
    })
    say(tell(1, { type: 'note', n: 1 }, { type: 'finish' }))
    expect(await within('its end', ended.promise)).toEqual({ outcome: 'completed', streamed: false })
    expect(said.at(-1)).toBe('ended')
    // The question in vain, the poll with what has happened, and what it is now.
    expect(said.slice(2, -1).toSorted()).toEqual(
      expect.arrayContaining(['no 3 OUTCOME_UNKNOWN', 'ok 1001 ', 'ok 2 ', 'state done']),
    )
  })
})

describe('what is left', () => {
  test('nothing, when the session is closed', async () => {
    const own = await two.here.connect('far')
    const refs = [await own.spawn(wild), await own.spawn(wild), await own.spawn(greedy as unknown as typeof wild)]
    const pids = await Promise.all(refs.map(pidOf))
    refs[1]!.send({ type: 'spin' })
    await within('the session', own.close({ grace: 100 }))
    for (const pid of pids) expect(alive(pid)).toBe(false)
    await Promise.all(refs.map(over))
  })

  test('nothing, when the peer is closed, or killed', async () => {
    const peers = await Peers.start()
    try {
      for (const [name, end] of [
        ['closed', 'close'],
        ['killed', 'kill'],
      ] as const) {
        const server = await peers.process(name, { machines: here.href, stopGrace: 100 })
        await peers.laptop.join(await server.ask('invite', { grants: [...GRANTS] }))
        const there = await peers.laptop.connect(name)
        const refs = [await there.spawn(wild), await there.spawn(wild)]
        const pids = await Promise.all(refs.map(pidOf))
        const started = await refs[0]!.ask<number>({ type: 'start', seconds: 600 })
        if (started.outcome !== 'ok') throw started.error
        refs[1]!.send({ type: 'spin' })
        await server[end]()
        await Promise.all([...pids, started.value].map(dead))
        await until('that no process is left', () => server.processes().length === 0)
      }
    } finally {
      await peers.close()
    }
  })
})

describe('bounds', () => {
  test('an inbox that is full makes who sends wait, and nothing is lost', async () => {
    const ref = await session.spawn(wild)
    const job = await jobOf(session, ref)
    await job.suspend()
    let taken = 0
    const count = INBOX_MOST + 600
    const telling = Array.from({ length: count }, async (_, n) => {
      await ref.tell({ type: 'note', n })
      taken++
    })
    await until('that its inbox is full', () => taken >= INBOX_MOST - 256)
    await within('an answer', two.here.sessions({ on: 'far' }))
    expect(taken).toBeLessThan(count)
    await job.resume()
    await within('all of it', Promise.all(telling))
    const notes = await ref.ask<number[]>({ type: 'notes' })
    expect(notes).toEqual({ outcome: 'ok', value: Array.from({ length: count }, (_, n) => n) })
  })

  test('a log that nobody reads keeps the newest, and the machine goes on', async () => {
    await using peer = await createPeer({ machines })
    const ref = await peer.spawn(wild)
    const job = await jobOf(peer, ref)
    const big = 256 * 1024
    const said = 64
    for (let n = 0; n < said; n++) ref.send({ type: 'say', bytes: big })
    ref.send({ type: 'finish' })
    await within('its end', job.finished)
    const records = await within('the records', all(job.receive()))
    const gone = records.reduce((sum, record) => sum + (record.kind === 'gap' ? record.dropped : 0), 0)
    expect(records[0]!.kind).toBe('gap')
    const kept = records.filter(({ kind }) => kind === 'output')
    expect(kept.length + gone).toBe(said + 1)
    expect(kept.length).toBeLessThanOrEqual(ACTOR_LOG_BYTES / big + 1)
    expect(kept.length).toBeGreaterThan(ACTOR_LOG_BYTES / big / 2)
  })

  // The process as it is when it does not read: nothing it is sent is ever answered.
  const silent = (): {
    actor: ProcessActor
    asked: { type: string }[]
    answer: (n: number, value: unknown) => void
  } => {
    const asked: { type: string }[] = []
    const answers: ((value: unknown) => void)[] = []
    const link = {
      ask: (_: unknown, event: { type: string }) => {
        asked.push(event)
        return new Promise((resolve) => answers.push(resolve))
      },
    }
    return {
      actor: new ProcessActor('silent', 1, 'job', link as unknown as Link),
      asked,
      answer: (n, value) => answers[n]!(value),
    }
  }
  test('of a process that does not read so many batches are on their way, and the others wait in their order', async () => {
    const { actor, asked, answer } = silent()
    const senders = BATCHES_UNDER_WAY + 3
    const answered: number[] = []
    const left = new AbortController()
    const telling = Array.from({ length: senders }, (_, n) =>
      actor
        .tell(`sender ${n}`, 1, 1, batch({ type: 'notes' }), n === BATCHES_UNDER_WAY + 1 ? left.signal : undefined)
        .then(() => answered.push(n)),
    )
    const question = actor.ask(encode({ type: 'total' }), 60_000)
    expect(asked).toHaveLength(BATCHES_UNDER_WAY)
    // Who gives up while he waits here was never asked for.
    left.abort(new Error('enough'))
    await expect(telling[BATCHES_UNDER_WAY + 1]).rejects.toThrow('enough')
    answer(0, {})
    await telling[0]
    expect(asked).toHaveLength(BATCHES_UNDER_WAY + 1)
    answer(1, {})
    await telling[1]
    // The question, which came last, takes no place, and overtakes nobody.
    expect(asked.slice(BATCHES_UNDER_WAY).map(({ type }) => type)).toEqual(['actor.tell', 'actor.tell', 'actor.ask'])
    expect(answered).toEqual([0, 1])
    void question.catch(() => undefined)
  })

  test('what is given up on its way may be handled; what waits here, or comes too late, is not', async () => {
    const { actor, asked } = silent()
    const left = new AbortController()
    const event = encode({ type: 'total' })
    const told = Array.from({ length: BATCHES_UNDER_WAY + 1 }, (_, n) =>
      actor.tell(`sender ${n}`, 1, 1, batch({ type: 'notes' }), left.signal),
    )
    const busy = silent()
    const begun = busy.actor.ask(event, 60_000, left.signal)
    left.abort(Object.assign(new Error('not any more'), { code: 'DENIED' }))
    const late = [
      actor.ask(event, 60_000, left.signal),
      actor.tell('late', 1, 1, batch({ type: 'notes' }), left.signal),
    ]
    const came = await within('all of it', Promise.allSettled([begun, ...told, ...late]))
    const unknown = { reason: { code: 'OUTCOME_UNKNOWN', cause: { code: 'DENIED' } } }
    const denied = { reason: { code: 'DENIED' } }
    expect(came).toMatchObject([unknown, ...told.slice(1).map(() => unknown), denied, denied, denied])
    expect(asked).toHaveLength(BATCHES_UNDER_WAY)
    expect(busy.asked).toHaveLength(1)
  })

  test('and so many bytes, but for one that has more alone', () => {
    const { actor, asked } = silent()
    const big = batch({ type: 'notes', more: 'x'.repeat(700_000) })
    for (let n = 0; n < 3; n++) void actor.tell(`sender ${n}`, 1, 1, big).catch(() => undefined)
    expect(asked).toHaveLength(1)
    const huge = silent()
    void huge.actor.tell('sender', 1, 1, batch({ type: 'notes', more: 'x'.repeat(3_000_000) })).catch(() => undefined)
    expect(huge.asked).toHaveLength(1)
  })

  test('and so many questions, whether anybody waits for them or not', async () => {
    const { actor, answer } = silent()
    const event = encode({ type: 'total' })
    const asking = Array.from({ length: ACTOR_ASKS_MOST }, () => actor.ask(event, 1).catch((error: unknown) => error))
    for (const error of await within('their time', Promise.all(asking)))
      expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
    const full = { code: 'LIMIT', message: expect.stringContaining('1024 questions') }
    expect(await refusal('ask', () => actor.ask(event, 1))).toMatchObject(full)
    answer(0, event)
    await Promise.resolve()
    await until('that there is room', async () => {
      const error = await actor.ask(event, 1).catch((thrown: unknown) => thrown)
      return (error as { code?: string }).code === 'OUTCOME_UNKNOWN'
    })
    const big = silent()
    const half = new Uint8Array(ASK_BYTES_UNDER_WAY / 2 + 1)
    void big.actor.ask(half, 60_000).catch(() => undefined)
    expect(await refusal('ask', () => big.actor.ask(half, 1))).toMatchObject({ code: 'LIMIT' })
  })
})

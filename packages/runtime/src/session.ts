// A session on the peer that hosts it: its actor, its job table, its runspace. Everything a session owns ends with it.
import { createActor } from 'xstate'
import type { Cancel } from '@errand/transport'
import { isFinished } from './child-jobs.ts'
import { LONGEST_TIMER } from './duration.ts'
import type { Engine } from './engine/engine.ts'
import { engineOf } from './engine-choice.ts'
import { SharedMapEngine } from './engine/map.ts'
import { SessionBusyError, SessionClosedError, SessionStateError, UsageError } from './errors.ts'
import { JobHost, type JobOptions } from './job.ts'
import type { StopRequest } from './job-machine.ts'
import type { TableJob } from './job-row.ts'
import { keptText } from './kept-text.ts'
import { JobTable, logName } from './job-table.ts'
import type { JobReading } from './link.ts'
import { OutputLog, OWNER } from './output-log.ts'
import { singleRecord } from './record.ts'
import { saveJob } from './save.ts'
import { sessionMachine, type SessionActions, type SessionActor, type SessionMachineEvent } from './session-machine.ts'
import type { SessionRef } from './session-ref.ts'
import type { Store } from './store/store.ts'
import type { Buffering, JobSnapshot, PeerId, SessionSnapshot, SessionState } from './surface.ts'
import type { OpenSession, ReadRequest, SessionEvent, TargetSpec, WorkSpec } from './wire.ts'

/** Connections a fan-out opens at once (PowerShell's default ThrottleLimit). */
export const THROTTLE = 32
export type SessionKind = 'local' | 'persistent' | 'temporary' | 'home'

export interface SessionEngines {
  readonly runspace: Engine
  readonly thread: Engine
  readonly process: Engine
}

/** What a session needs of the peer it is on. */
export interface SessionHome {
  readonly id: PeerId
  readonly name: string
  readonly store: Store
  readonly stopGrace: number
  readonly temporaryLease: number
  readonly idleTimeout: number
  /** Engines of one session; `onLost` when the runspace lost its variables. */
  engines(session: HostSession, onLost: () => void): SessionEngines
  /** The engine that runs a child somewhere else, and what that place is called. */
  target(target: TargetSpec, lostAfter: number | undefined): { engine: Engine; location: string }
  /** A session of the same peer, whoever asks. */
  sessionRef(instanceId: string): SessionRef
  sessionClosed(session: HostSession): void
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** What all jobs of one session have in common. */
type Common = Pick<JobOptions, 'id' | 'peer' | 'session' | 'stopGrace' | 'here'>
type Again = Pick<JobOptions, 'retry' | 'restart'>

/** What is lost while it is being stopped is left as what was lost before: it may be minutes until it is given up. */
async function stopUnlessLost(job: JobHost, request: StopRequest): Promise<void> {
  const lost = Promise.withResolvers<void>()
  const unwatch = job.watch(({ state }) => state === 'Disconnected' && lost.resolve())
  try {
    await Promise.race([job.stop(request), lost.promise])
  } finally {
    unwatch()
  }
}

export class HostSession implements SessionRef, SessionActions {
  readonly instanceId: string = crypto.randomUUID()
  readonly id: number
  readonly name: string
  readonly kind: SessionKind
  /** Whose it is; '' is this peer's own owner. */
  readonly owner: string
  readonly cwd: string | undefined
  readonly env: Record<string, string | undefined> | undefined
  /** Settles when nothing of it is left. */
  readonly closed: Promise<void>
  readonly #home: SessionHome
  readonly #actor: SessionActor
  readonly #engines: SessionEngines
  readonly #settleClosed: () => void
  readonly #table: JobTable
  readonly #listeners = new Set<() => void>()
  #lastJob = 0
  #epoch = 1
  #running: JobHost | undefined
  /** The next run is told. */
  #variablesLost = false
  /** The client process that has it for itself. */
  #attached: string | undefined
  #idleTimeout: number
  #buffering: Buffering
  #lease: NodeJS.Timeout | undefined
  #expiresAt: Date | undefined
  #closeGrace: number | undefined
  #closeReason = 'its session was closed'
  #closeCode: string | undefined

  constructor(home: SessionHome, id: number, kind: SessionKind, owner: string, options: Partial<OpenSession> = {}) {
    this.#home = home
    this.id = id
    this.kind = kind
    this.owner = owner
    this.name = options.name ?? (kind === 'home' || kind === 'local' ? kind : `Runspace${id}`)
    this.cwd = options.cwd
    this.env = options.env
    this.#table = new JobTable(
      home.store,
      { peer: home.id, session: this.instanceId },
      kind === 'local' ? home.name : `${home.name} (session ${this.name})`,
    )
    this.#buffering = options.buffering ?? 'block'
    this.#idleTimeout = kind === 'temporary' ? home.temporaryLease : (options.idleTimeout ?? home.idleTimeout)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#settleClosed = resolve
    this.#engines = home.engines(this, () => {
      this.#epoch++
      this.#variablesLost = true
      this.#changed()
    })
    this.#actor = createActor(sessionMachine, { input: this })
    this.#actor.subscribe({ next: () => this.#changed(), error: () => this.#settleClosed() })
    this.#actor.start()
  }

  get snapshot(): SessionSnapshot {
    return this.snapshotFor(undefined)
  }

  /** As one client sees it: Opened for who has it, Disconnected for everybody else (Busy: not to be taken). */
  snapshotFor(client: string | undefined): SessionSnapshot {
    const state = this.#actor.getSnapshot().value as 'Opened' | 'Disconnected' | 'Closing' | 'Closed'
    // Closed when its jobs have ended and that was told, not before: whoever watches one hears how it ended.
    const over = state === 'Closed'
    const mine = this.#shared || (client !== undefined && this.#attached === client)
    const seen: SessionState = over ? 'Closed' : mine ? 'Opened' : 'Disconnected'
    const busy = mine ? this.#running !== undefined : this.#attached !== undefined
    return Object.freeze({
      id: this.id,
      instanceId: this.instanceId,
      name: this.name,
      location: this.#home.name,
      peerId: this.#home.id,
      transport: 'local',
      configurationName: 'errand',
      computerType: 'RemoteMachine',
      state: seen,
      availability: over || state === 'Closing' ? 'None' : busy ? 'Busy' : mine ? 'Available' : 'None',
      idleTimeout: this.#idleTimeout,
      expiresAt: this.#expiresAt,
      buffering: this.#buffering,
      jobs: this.#table.size,
      epoch: this.#epoch,
    })
  }

  // ── attaching ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Local and home sessions are everybody's of their owner; the others are one client's at a time. */
  get #shared(): boolean {
    return this.kind === 'local' || this.kind === 'home'
  }

  /** @throws SessionStateError when another client has it; SessionClosedError */
  attach(client: string, force = false): void {
    this.#throwIfClosed()
    if (this.#shared) return
    if (this.#attached !== undefined && this.#attached !== client && !force) {
      throw new SessionStateError(`session ${this.name} is attached to another client`, {
        hint: 'disconnect it there, or take it with force',
      })
    }
    this.#attached = client
    this.#send({ type: 'session.attach' })
    this.#changed()
  }

  /** The client left or was lost: its work goes on, the lease begins. */
  detach(client: string, idleTimeout?: number, buffering?: Buffering): void {
    if (this.kind === 'home') return this.#setBuffering(buffering)
    if (this.#attached !== client) return
    this.#setBuffering(buffering)
    this.#attached = undefined
    if (idleTimeout !== undefined) this.#idleTimeout = idleTimeout
    this.#send({ type: 'session.detach' })
    this.#changed()
  }

  /** By the word of the client that has it. @throws SessionStateError */
  rebuffer(client: string, buffering: Buffering): void {
    this.#throwIfClosed()
    if (this.kind !== 'home' && this.#attached !== client) {
      throw new SessionStateError(`session ${this.name} is not attached to this client`, { hint: 'connect it first' })
    }
    this.#setBuffering(buffering)
  }

  /** Also of what runs already: who waits for a reader is let go, or the oldest records are kept from now on. */
  #setBuffering(buffering: Buffering = this.#buffering): void {
    if (buffering === this.#buffering) return
    this.#buffering = buffering
    for (const host of this.#table.unfinished()) for (const one of [host, ...host.children]) one.setBuffering(buffering)
    this.#changed()
  }

  // ── SessionRef ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async request(event: SessionEvent, job?: string, options: Cancel = {}): Promise<unknown> {
    options.signal?.throwIfAborted()
    this.#throwIfClosed()
    const over = this.#table.retired(job)
    if (over) return over
    switch (event.type) {
      case 'start':
        return (await this.#start(event.spec, event.on, event, true)).snapshot()
      case 'run':
        return (await this.#start(event.spec, event.on, event, false)).snapshot()
      case 'jobs':
        return this.#table.list(event.filter)
      case 'job':
        return this.#table.named(event.which).snapshot()
      case 'runs':
        return this.#table.runs().map((it) => ({ run: it.snapshot(), cursor: it.log?.cursor(OWNER) ?? 0 }))
      case 'session':
        return this.snapshot
      case 'close':
        // Everything a peer owns hangs on it: it ends with the peer.
        if (this.kind === 'local') throw new SessionStateError(`session ${this.name} ends with its peer`)
        await this.close(event.grace)
        return this.snapshot
      case 'stop':
        return this.#table.find(job).stop({
          grace: event.grace ?? this.#home.stopGrace,
          ...(event.reason !== undefined && { reason: event.reason }),
        })
      case 'remove':
        return this.#table.remove(job, event.force === true, this.#home.stopGrace).finally(() => this.#changed())
      case 'send':
        await this.#table.find(job).input({ count: event.count, errors: 0, bytes: event.bytes })
        return undefined
      case 'end-input':
        this.#table.find(job).endInput(event.error)
        return undefined
      case 'answer':
        await this.#table.find(job).answer(event.value, event.question)
        return undefined
      case 'suspend':
        return this.#table.find(job).standStill()
      case 'resume':
        return this.#table.find(job).goOn()
      case 'throttle':
        if (job !== undefined) return this.#table.find(job).throttle(event.most)
        this.#engines.thread.throttle?.(event.most)
        return undefined
      case 'items':
        return this.#table.items(job, event.from, event.limit)
      case 'acknowledge':
        return this.#table.acknowledge(job, event.reader, event.seqs)
      case 'save':
        return this.#save(this.#table.find(job), event)
      case 'disconnect':
      case 'connect':
      case 'receive':
        throw new SessionStateError(`session ${this.name} is on this peer; there is nothing to ${event.type}`)
    }
  }

  read(job: string, request: ReadRequest, signal?: AbortSignal): JobReading {
    return this.#table.read(job, request, signal)
  }

  watchJob(job: string, listener: (snapshot: JobSnapshot) => void, lost?: (reason: Error) => void): () => void {
    const host = this.#table.seek(job)
    if (!host) return () => undefined
    listener(host.snapshot())
    if (isFinished(host.state)) return host.watch(listener)
    // One that goes on elsewhere when its table ends: no more news of it can come.
    if (lost) void host.finished.then(({ state }) => !isFinished(state) && lost(new SessionClosedError(this.name)))
    return host.watch(listener)
  }

  watchSession(listener: (snapshot: SessionSnapshot) => void): () => void {
    return this.onChange(() => listener(this.snapshot))
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  elsewhere(session: string): SessionRef {
    return this.#home.sessionRef(session)
  }

  /** Unfinished jobs and runs. */
  get unfinished(): readonly JobHost[] {
    return [...this.#table.unfinished()]
  }

  /** Jobs and runs. */
  all(): Iterable<TableJob> {
    return this.#table.all()
  }

  /** Ends it and its jobs. Idempotent. */
  async close(grace?: number, reason?: string, code?: string): Promise<void> {
    this.#closeGrace ??= grace
    if (reason !== undefined) this.#closeReason = reason
    this.#closeCode ??= code
    this.#send({ type: 'session.close' })
    await this.closed
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  startLease(): void {
    // A home session stands until its owner closes it; what a temporary one owns waits a minute for its client.
    if (this.#shared || this.#idleTimeout > LONGEST_TIMER) return
    this.#expiresAt = new Date(Date.now() + this.#idleTimeout)
    this.#lease = setTimeout(() => {
      this.#closeReason = `nobody came back within ${this.#idleTimeout / 1000} s`
      this.#send({ type: 'session.expired' })
    }, this.#idleTimeout)
    this.#lease.unref()
  }

  endLease(): void {
    clearTimeout(this.#lease)
    this.#expiresAt = undefined
  }

  shutDown(): void {
    void this.#shutDown().finally(() => {
      this.#send({ type: 'session.ended' })
      this.#home.sessionClosed(this)
      this.#settleClosed()
    })
  }

  async #shutDown(): Promise<void> {
    const request = {
      grace: this.#closeGrace ?? this.#home.stopGrace,
      reason: this.#closeReason,
      code: this.#closeCode,
    }
    const hosts = this.unfinished
    // What runs on elsewhere in a session that was left is not ours to stop.
    for (const host of hosts) if (host.children.length > 0) host.expectStop(request)
    const leaves = hosts.flatMap((host) => (host.children.length > 0 ? host.children : [host]))
    const ours = leaves.filter((leaf) => leaf.state !== 'Disconnected')
    await Promise.allSettled(ours.map((leaf) => stopUnlessLost(leaf, request)))
    const { runspace, thread, process } = this.#engines
    await Promise.allSettled([runspace, thread, process].map((engine) => engine[Symbol.asyncDispose]()))
    for (const one of hosts.flatMap((host) => [host, ...host.children])) {
      if (!isFinished(one.state)) await one.abandon()
    }
    for (const job of [...this.all()]) this.#table.forget(job)
  }

  // ── starting ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Same `startId`: the same job, also while the first start is still under way. */
  #start(
    spec: WorkSpec,
    on: readonly TargetSpec[] | undefined,
    options: { throttle?: number; lostAfter?: number },
    listed: boolean,
  ): Promise<TableJob> {
    const startId = keptText(spec.startId)
    return this.#table.once(startId, () => this.#make(spec, startId, on, options, listed))
  }

  /** For where it is run here. */
  #placed(work: WorkSpec): WorkSpec {
    const env = this.env || work.env ? { ...this.env, ...work.env } : undefined
    return { ...work, cwd: work.cwd ?? this.cwd, env }
  }

  async #make(
    spec: WorkSpec,
    startId: string,
    on: readonly TargetSpec[] | undefined,
    options: { throttle?: number; lostAfter?: number },
    listed: boolean,
  ): Promise<JobHost> {
    if (listed) this.#table.throwIfFull(on?.length ?? 0)
    const when = this.#when(spec)
    const again = rules(spec)
    // Whatever runs in the runspace has it for itself; refused at once, before anything is made.
    const engine = engineOf(spec, listed)
    const alone = !on && engine === 'runspace'
    if (alone && this.#running) throw new SessionBusyError(this.name)
    const id = listed ? ++this.#lastJob : 0
    // A run's id is its caller's, who reads it without waiting for our answer.
    const instanceId = !listed && UUID.test(startId) ? startId : keptText(crypto.randomUUID())
    this.#table.throwIfTaken(instanceId)
    const name = spec.name ?? (listed ? `Job${id}` : 'run')
    // A script of a job may be sent to at any time; who calls a run has said all there is.
    const input = spec.input ?? (listed && spec.kind !== 'command')
    // When, how long and how often is seen to here, not where it runs; only a deadline is kept there as well.
    const work: WorkSpec = { ...withoutRules(spec), startId, input }
    const common = this.#common(id)
    // Peers that share a map have no jobs of their own here: it has one log, in which each item stands once.
    const shared = on && spec.map ? on.map((target) => this.#home.target(target, options.lostAfter)) : undefined
    const targets = shared
      ? undefined
      : on?.map((target, index) =>
          this.#child(name, work, target, index + 1, { lostAfter: options.lostAfter, again }, common),
        )
    const host = targets
      ? new JobHost({
          ...common,
          instanceId,
          name,
          type: 'RemoteJob',
          location: targets.map((child) => child.location).join(','),
          spec: work,
          throttle: options.throttle ?? THROTTLE,
          deadline: spec.deadline,
          ...when,
        })
      : new JobHost({
          ...common,
          instanceId,
          name,
          type: spec.map ? 'PSTaskJob' : engine === 'thread' ? 'ThreadJob' : listed ? 'BackgroundJob' : 'RemoteJob',
          location: shared ? shared.map((place) => place.location).join(',') : 'localhost',
          spec: shared ? work : this.#placed(work),
          engine: shared ? new SharedMapEngine(shared) : this.#engines[engine],
          deadline: spec.deadline,
          ...when,
          ...again,
        })
    // In the table before anything is waited for: who started it may be reading it already.
    if (targets) host.adopt(targets)
    this.#table.add(host)
    if (alone) {
      this.#running = host
      void host.finished.then(() => {
        if (this.#running === host) this.#running = undefined
        this.#changed()
      })
    }
    this.#changed()
    try {
      for (const one of targets ?? [host]) await this.#giveLog(one)
    } catch (error) {
      this.#table.forget(host)
      if (this.#running === host) this.#running = undefined
      throw error
    }
    if (alone && this.#variablesLost) {
      this.#variablesLost = false
      host.log?.append(
        singleRecord('warning', `the runspace of session ${this.name} is new: variables of earlier runs are gone`),
      )
    }
    host.start()
    return host
  }

  #child(
    parentName: string,
    spec: WorkSpec,
    target: TargetSpec,
    position: number,
    { lostAfter, again }: { lostAfter: number | undefined; again: Again },
    common: Common,
  ): JobHost {
    const { engine, location } = this.#home.target(target, lostAfter)
    // A start over there is this start: its id is ours and the child's place.
    const childSpec: WorkSpec = { ...spec, startId: `${spec.startId}.${position}` }
    const instanceId = keptText(crypto.randomUUID())
    return new JobHost({
      ...common,
      instanceId,
      name: `${parentName}.${position}`,
      type: 'RemoteJob',
      location,
      spec: childSpec,
      engine,
      position,
      ...again,
    })
  }

  /** What a job waits for before it is launched. @throws JobNotFoundError: before anything is made */
  #when({ delay, after }: WorkSpec): Pick<JobOptions, 'delay' | 'after'> {
    return {
      ...(delay !== undefined && { delay }),
      ...(after !== undefined && { after: this.#table.named(after) }),
    }
  }

  #common(id: number): Common {
    const { id: peer, name: here, stopGrace } = this.#home
    return { id, peer, here, stopGrace, session: () => this.snapshot }
  }

  async #giveLog(host: JobHost): Promise<void> {
    const { store } = this.#home
    host.attachLog(
      new OutputLog(await store.log(logName(this.instanceId, host)), store.logLimit, (bytes) => host.credit(bytes)),
    )
    host.setBuffering(this.#buffering)
  }

  /** A run of a session we hold, started by another client: from here on a job of this table. */
  async takeUp(
    run: JobSnapshot,
    cursor: number,
    name: string | undefined,
    engine: Engine,
    location: string,
  ): Promise<JobHost> {
    const common = this.#common(++this.#lastJob)
    const spec: WorkSpec = { kind: 'code', command: run.command, startId: crypto.randomUUID() }
    const shared = { ...common, type: 'RemoteJob' as const, location, spec }
    const parent = new JobHost({
      ...shared,
      instanceId: keptText(crypto.randomUUID()),
      name: name ?? `Job${common.id}`,
    })
    const child = new JobHost({
      ...shared,
      instanceId: keptText(crypto.randomUUID()),
      name: `${parent.name}.1`,
      engine,
      position: 1,
    })
    parent.adopt([child])
    await this.#giveLog(child)
    // Before anybody can read: all of it is copied, and its reader goes on where the last one stopped.
    child.log?.begin(0, cursor)
    this.#table.add(parent)
    parent.start()
    this.#changed()
    return parent
  }

  async #save(host: TableJob, event: Extract<SessionEvent, { type: 'save' }>): Promise<JobSnapshot> {
    await saveJob(this, host.snapshot(), event, this.#home.name)
    return (this.#table.seek(host.instanceId) ?? host).snapshot()
  }

  /** What comes after the end is nobody's news. */
  #send(event: SessionMachineEvent): void {
    if (this.#actor.getSnapshot().status === 'active') this.#actor.send(event)
  }

  #throwIfClosed(): void {
    const { value } = this.#actor.getSnapshot()
    if (value === 'Closing' || value === 'Closed') throw new SessionClosedError(this.name)
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

/** The work alone. Mostly that is all there is, and copying an object but for some of it takes ten times what a copy does. */
function withoutRules(spec: WorkSpec): WorkSpec {
  if (!RULES.some((rule) => rule in spec)) return spec
  const { delay: _, after: __, retry: ___, restart: ____, ...work } = spec
  return work
}
const RULES = ['delay', 'after', 'retry', 'restart'] as const satisfies readonly (keyof WorkSpec)[]

/** Whether it is done again when it fails. @throws UsageError */
function rules({ retry, restart, input }: WorkSpec): Again {
  if (retry && restart) throw new UsageError('`retry` and `restart` exclude each other')
  if ((retry || restart) && input) {
    throw new UsageError('what has been read of an `input` cannot be read again by another attempt', {
      hint: 'give it as `args`, or `send` it to the job that runs',
    })
  }
  return { ...(retry && { retry }), ...(restart && { restart }) }
}

// A session on the peer that hosts it: its actor, its job table, its runspace. Everything a session owns ends with it.
import { createActor } from 'xstate'
import type { Cancel } from '@errand/transport'
import { endOf, gone } from './actor-end.ts'
import { readActor } from './actor-reading.ts'
import { goneState, shown, type ActorState } from './actor-state.ts'
import { ActorWatch, restarted } from './actor-watch.ts'
import type { ActorWay } from './actor-way.ts'
import { Alarm } from './alarm.ts'
import { isFinished } from './child-jobs.ts'
import type { Engine } from './engine/engine.ts'
import { engineOf } from './engine-choice.ts'
import { SharedMapEngine } from './engine/map.ts'
import { RemoteEngine } from './engine/remote.ts'
import {
  ActorGoneError,
  PeerLostError,
  SessionBusyError,
  SessionClosedError,
  SessionExpiredError,
  SessionStateError,
  UsageError,
} from './errors.ts'
import { EventFeed } from './event-feed.ts'
import { FollowedActors } from './followed-actors.ts'
import type { HostedActor } from './hosted-actor.ts'
import type { EntryPlan } from './job-entry.ts'
import { JobKeeping, THROTTLE, type Again, type LeftHow } from './job-keeping.ts'
import { resume, revivedHost, revivedRow, type Revived, type RevivalHome, type StoredFamily } from './job-revival.ts'
import { JobHost, type JobOptions } from './job.ts'
import type { StopRequest } from './job-machine.ts'
import type { TableJob } from './job-row.ts'
import { KeptRow } from './kept-row.ts'
import { keptText } from './kept-text.ts'
import { JobTable, logName } from './job-table.ts'
import type { JobReading } from './link.ts'
import { since, thisMoment, type Moment } from './moment.ts'
import { OWNER } from './output-log.ts'
import { singleRecord, valuesOf } from './record.ts'
import { tellJobs } from './peer-events.ts'
import type { Retention } from './retention.ts'
import { saveJob } from './save.ts'
import { sessionMachine, type SessionActions, type SessionActor, type SessionMachineEvent } from './session-machine.ts'
import type { SessionRef } from './session-ref.ts'
import { SESSION_ROW, type StoredSession } from './stored-session.ts'
import type { OpenJob } from './stored-job.ts'
import type { Store } from './store/store.ts'
import type { Buffering, JobSnapshot, PeerId, SessionSnapshot, SessionState } from './surface.ts'
import {
  NO_COMPLETION,
  type OpenSession,
  type ReadRequest,
  type SessionEvent,
  type Surroundings,
  type TargetSpec,
  type WorkSpec,
} from './wire.ts'

export type SessionKind = 'local' | 'persistent' | 'temporary' | 'home'

export interface SessionEngines {
  readonly runspace: Engine
  readonly thread: Engine
  readonly process: Engine
  readonly machine: Engine
}

/** What a session needs of the peer it is on. */
export interface SessionHome {
  readonly id: PeerId
  readonly name: string
  readonly store: Store
  /** For logs that need not outlive the peer; none: the store's does not either. */
  readonly memory?: Store | undefined
  readonly retention?: Retention | undefined
  readonly stopGrace: number
  readonly temporaryLease: number
  readonly idleTimeout: number
  /** Engines of one session; `onLost` when the runspace lost its variables. */
  engines(session: HostSession, onLost: () => void): SessionEngines
  /** The engine that runs a child somewhere else, and what that place is called. */
  target(target: TargetSpec, lostAfter: number | undefined, kept: boolean): { engine: Engine; location: string }
  /** The engine of a child that was put into a session elsewhere before this peer was started. */
  takenUp?(held: string, far: string | undefined): Engine
  readonly actors?: ActorWay | undefined
  /** A session of the same peer, whoever asks. */
  sessionRef(instanceId: string): SessionRef
  sessionClosed(session: HostSession): void
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** What all jobs of one session have in common. */
type Common = Pick<JobOptions, 'id' | 'peer' | 'session' | 'stopGrace' | 'here' | 'setUp'>

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
  readonly instanceId: string
  readonly id: number
  readonly name: string
  readonly kind: SessionKind
  readonly surroundings: Surroundings
  /** Settles when nothing of it is left. */
  readonly closed: Promise<void>
  /** Nobody came back to it in time. */
  expired: SessionExpiredError | undefined
  #owner: string
  #openedBy: string | undefined
  readonly #home: SessionHome
  readonly #actor: SessionActor
  readonly #engines: SessionEngines
  readonly #settleClosed: () => void
  readonly #table: JobTable
  readonly #listeners = new Set<() => void>()
  readonly #events = new EventFeed((tell) => tellJobs(this.#table, tell))
  readonly #followed = new FollowedActors()
  readonly #keeping: JobKeeping
  readonly #row: KeptRow | undefined
  readonly #options: OpenSession | undefined
  #lastJob: number
  /** The last one that its row tells of. */
  #lastWritten: number
  #epoch: number
  /** Since when nobody has it. */
  #left: Moment | undefined
  /** Milliseconds of its lease that had gone by before it came back. */
  #leftFor = 0
  #revived: Revived[] = []
  /** Its peer goes down: it comes back with it. */
  #comesBack = false
  #running: JobHost | undefined
  /** The next run is told. */
  #variablesLost = false
  /** The client process that has it for itself. */
  #attached: string | undefined
  #idleTimeout: number
  #buffering: Buffering
  #lease: Alarm | undefined
  #expiresAt: Date | undefined
  #closeGrace: number | undefined
  #closeReason = 'its session was closed'
  #closeCode: string | undefined

  /** `was`: as it was written down; it comes back detached, with an empty runspace. */
  constructor(
    home: SessionHome,
    id: number,
    kind: SessionKind,
    owner: string,
    options?: OpenSession,
    was?: StoredSession,
  ) {
    this.#home = home
    this.instanceId = was?.instanceId ?? crypto.randomUUID()
    this.id = id
    this.kind = kind
    this.#owner = owner
    this.name = was?.name ?? options?.name ?? (kind === 'home' || kind === 'local' ? kind : `Runspace${id}`)
    this.surroundings = options ?? {}
    this.#options = options
    this.#lastJob = was?.lastJob ?? 0
    this.#lastWritten = this.#lastJob
    this.#epoch = was ? was.epoch + 1 : 1
    this.#variablesLost = was !== undefined
    // What a temporary session owns ends with it, and it with the peer.
    // What a temporary session owns ends with it, and it with the peer.
    const rows = kind === 'temporary' ? undefined : home.store.rows
    this.#row = rows && new KeptRow(rows, 'session', this.instanceId, () => this.#stored(), was !== undefined)
    this.#keeping = new JobKeeping({
      session: this.instanceId,
      store: home.store,
      memory: home.memory,
      rows,
      // Asked each time: before its network is up a peer has no name there.
      peer: () => home.id,
      seek: (job) => this.#table.seek(job),
      // Its number is not given again: in the same turn, unless that is written already.
      gone: ({ id }) => (id > this.#lastWritten ? this.#row!.note() : undefined),
    })
    this.#table = new JobTable(
      this.#keeping.keeps(() => home.retention?.look(this.#table)),
      this.#keeping.rowHome,
      kind === 'local' ? home.name : `${home.name} (session ${this.name})`,
    )
    this.#buffering = was?.buffering ?? options?.buffering ?? 'block'
    this.#idleTimeout =
      kind === 'temporary' ? home.temporaryLease : (was?.idleTimeout ?? options?.idleTimeout ?? home.idleTimeout)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.closed = promise
    this.#settleClosed = resolve
    this.#engines = home.engines(this, () => {
      this.#epoch++
      this.#variablesLost = true
      this.#row?.changed()
      this.#changed()
    })
    this.#actor = createActor(sessionMachine, { input: this })
    this.#actor.subscribe({ next: () => this.#changed(), error: () => this.#settleClosed() })
    this.#actor.start()
    if (!was || this.#shared) return
    // Who had it is not known to be there still: it has as long as anybody who has just left.
    this.#left = was.left ?? thisMoment()
    this.#leftFor = since(this.#left)
    this.#send({ type: 'session.detach' })
  }

  /** Whose it is; '' is this peer's own owner. */
  get owner(): string {
    return this.#owner
  }
  /** The client that had it first. */
  get openedBy(): string | undefined {
    return this.#openedBy
  }

  /** The same owner, by another name. */
  moveTo(owner: string): void {
    this.#owner = owner
    this.#row?.changed()
    this.#changed()
  }

  get snapshot(): SessionSnapshot {
    return this.snapshotFor(undefined)
  }
  get actors(): ActorWay | undefined {
    return this.#home.actors
  }

  /** As whoever has it sees it; Disconnected where nobody does. */
  get hosted(): SessionSnapshot {
    return this.snapshotFor(this.#attached)
  }

  /** As one client sees it: Opened for who has it, Disconnected for everybody else (Busy: not to be taken). */
  snapshotFor(client: string | undefined): SessionSnapshot {
    const state = this.#actor.getSnapshot().value as 'Opened' | 'Disconnected' | 'Closing' | 'Closed'
    // Closed when its jobs have ended and that was told, not before: whoever watches one hears how it ended.
    const over = state === 'Closed'
    const mine = this.#shared || (client !== undefined && this.#attached === client)
    const seen: SessionState = over && !this.#comesBack ? 'Closed' : mine && !over ? 'Opened' : 'Disconnected'
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
  attach(client: string, force = false, was?: string): void {
    this.#throwIfClosed()
    if (this.#shared) return
    if (this.#attached !== undefined && this.#attached !== client && this.#attached !== was && !force) {
      throw new SessionStateError(`session ${this.name} is attached to another client`, {
        hint: 'disconnect it there, or take it with force',
      })
    }
    this.#attached = client
    this.#left = undefined
    this.#row?.changed()
    // Started again, it is the same client.
    if (this.#openedBy === undefined || this.#openedBy === was) this.#openedBy = client
    this.#send({ type: 'session.attach' })
    this.#changed()
  }

  /**
   * Whether this client may do this: who has it, everything; others look at it, and close it where nobody has it. So a
   * client that another one took it from disturbs nothing of what goes on there. @throws SessionStateError
   */
  admit(client: string, event: SessionEvent['type']): void {
    if (this.#shared || this.#attached === client || event === 'session') return
    if (this.#attached === undefined) {
      if (event === 'close') return
      throw new SessionStateError(`session ${this.name} is attached to nobody`, { hint: 'connect it first' })
    }
    throw new SessionStateError(`session ${this.name} is attached to another client; ${event} is for that one`, {
      hint: 'disconnect it there, or take it with force',
    })
  }

  /** The client left or was lost: its work goes on, the lease begins. */
  detach(client: string, idleTimeout?: number, buffering?: Buffering): void {
    if (this.kind === 'home') return this.#setBuffering(buffering)
    // Its link was lost before it could say how long: nobody has it, and it says so now. Said again, nothing is new.
    const late = this.#expiresAt !== undefined && idleTimeout !== undefined && idleTimeout !== this.#idleTimeout
    if (this.#attached !== client && !late) return
    this.#setBuffering(buffering)
    this.#attached = undefined
    if (idleTimeout !== undefined) this.#idleTimeout = idleTimeout
    this.#left = thisMoment()
    void this.#row?.note()
    // Lost under who called them: what they say from now on, and have said, outlives us too.
    if (!this.#shared) void this.#keeping.keepRuns(this.#table.runs())
    if (late) {
      this.endLease()
      this.startLease()
    }
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
    this.#row?.changed()
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
      case 'complete':
        return this.#engines.runspace.complete?.(event.text) ?? NO_COMPLETION
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
      case 'events':
        return this.#events.since(event.cursor, options.signal)
      case 'actor.tell': {
        const actor = await this.#actorOf(job, event.epoch, options.signal)
        return actor.tell(event.from, event.seq, event.count, event.bytes, options.signal)
      }
      case 'actor.ask':
        return (await this.#actorOf(job, event.epoch, options.signal)).ask(
          event.event,
          event.timeout,
          options.signal,
          event,
        )
      case 'actor.stop': {
        const host = this.#table.find(job)
        if (isFinished(host.state)) return undefined
        // It may be on its way only; then it does not begin.
        this.#machineOf(job, event.epoch)
        await host.stop({ grace: 0, ...(event.reason !== undefined && { reason: event.reason }) })
        return undefined
      }
      case 'actor.inspect':
        return (await this.#actorOf(job, 0, options.signal)).inspect(this.#table.find(job).snapshot())
      case 'actor.transitions':
        return (await this.#followed.followed(job ?? '', () => this.#actorOf(job, 0, options.signal))).happened(
          event.cursor,
          options.signal,
        )
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

  /** What that actor says, in that incarnation (0: whichever). */
  readActor(job: string, epoch: number, request: ReadRequest, signal?: AbortSignal): JobReading {
    return readActor(this.#table.seek(job), epoch, request, signal)
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

  /** @throws JobNotFoundError, ActorGoneError, UsageError */
  #machineOf(job: string | undefined, epoch: number): JobHost {
    const host = this.#table.find(job)
    if (!(host instanceof JobHost) || isFinished(host.state)) throw gone(host.snapshot())
    if (host.spec.kind !== 'machine') throw new UsageError(`${host.name} is no machine: it takes no events`)
    if (epoch !== 0 && epoch !== host.attempt) throw restarted(host.name)
    return host
  }

  /** The actor that this job is, in that incarnation (0: whichever). @throws JobNotFoundError, ActorGoneError, UsageError */
  #actorOf(
    job: string | undefined,
    epoch: number,
    signal: AbortSignal | undefined,
  ): HostedActor | Promise<HostedActor> {
    const host = this.#machineOf(job, epoch)
    if (host.quarantine) throw host.quarantine
    return host.actor ?? this.#actorToBe(host, epoch, signal)
  }

  async #actorToBe(host: JobHost, epoch: number, signal: AbortSignal | undefined): Promise<HostedActor> {
    const actor = await host.actorThere(signal)
    // That attempt may have failed before there was one.
    if (epoch !== 0 && epoch !== actor.epoch) throw restarted(host.name)
    return actor
  }

  /** Whether that actor is at work here, in that incarnation: its end has not been said. */
  hasActor(job: string, epoch: number): boolean {
    const host = this.#table.seek(job)
    return host instanceof JobHost && host.actor?.epoch === epoch && !host.actor.over
  }

  /** Follows an actor until the returned function is called; its end is told when it is known for good. */
  watchActor(job: string, epoch: number, listener: (state: ActorState) => void): () => void {
    const host = this.#table.seek(job)
    if (!host) {
      listener(goneState(new ActorGoneError('there is no such actor')))
      return () => undefined
    }
    if (host instanceof JobHost && host.spec.kind === 'machine' && !isFinished(host.state))
      return new ActorWatch(host, epoch, listener).end
    const last = host.snapshot()
    if (epoch !== 0 && epoch !== (last.epoch ?? 1)) {
      listener(goneState(restarted(host.name), last.epoch))
      return () => undefined
    }
    let over = false
    void this.#outputOf(last).then((output) => over || listener({ ...endOf(last), ...(output && { output }) }))
    return () => void (over = true)
  }

  /** Of a machine that has done its work: its last record, where it has an output. */
  async #outputOf({ type, state, streamed, instanceId }: JobSnapshot): Promise<Uint8Array | undefined> {
    if (type !== 'MachineJob' || state !== 'Completed' || streamed !== false) return undefined
    try {
      let output: Uint8Array | undefined
      for await (const chunk of this.#table.read(instanceId, { reader: OWNER, tail: 1 })) {
        for (const value of valuesOf(chunk)) output = shown(value)
      }
      return output
    } catch {
      // It is removed just now, or its records are gone.
      return undefined
    }
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

  /** Those of them that end with their peer: a durable machine goes on with the next one. */
  get mortal(): readonly JobHost[] {
    const staying = (leaf: JobHost): boolean => isFinished(leaf.state) || leaf.durable
    return this.unfinished.filter((host) => {
      const leaves = host.children.length > 0 ? host.children : [host]
      return !this.#row || !leaves.every(staying)
    })
  }

  get table(): JobTable {
    return this.#table
  }

  /** Jobs and runs. */
  all(): Iterable<TableJob> {
    return this.#table.all()
  }

  /** Its peer goes down, and it goes on with the next one. */
  get comesBack(): boolean {
    return this.#comesBack
  }

  /** A durable machine, which goes on with the next peer when this one goes down. */
  comesBackWith(job: string | undefined): boolean {
    const host = this.#table.seek(job ?? '')
    return host instanceof JobHost && (host.durable || host.left)
  }

  /** With it, that durable machine: it takes nothing more in this life. */
  hasLeft(job: string | undefined): boolean {
    const host = this.#comesBack ? this.#table.seek(job ?? '') : undefined
    return host instanceof JobHost && host.left
  }

  /** Ends it and its jobs. Idempotent. */
  async close(grace?: number, reason?: string, code?: string, comesBack = false): Promise<void> {
    if (comesBack && this.#row) this.#comesBack = true
    this.#closeGrace ??= grace
    if (reason !== undefined) this.#closeReason = reason
    this.#closeCode ??= code
    this.#send({ type: 'session.close' })
    await this.closed
  }

  /** While it closes: what has been asked to stop is ended by force. */
  hurry(): void {
    const request = { grace: 0, reason: this.#closeReason, code: this.#closeCode }
    const leaves = this.unfinished.flatMap((host) => (host.children.length > 0 ? host.children : [host]))
    for (const leaf of leaves) {
      // What runs on elsewhere in a session that was left is not ours to stop.
      if (!isFinished(leaf.state) && leaf.state !== 'Disconnected') void leaf.stop(request).catch(() => undefined)
    }
  }

  // ── what the machine asks for ───────────────────────────────────────────────────────────────────────────────────────

  startLease(): void {
    // A home session stands until its owner closes it; what a temporary one owns waits a minute for its client.
    if (this.#shared) return
    const left = Math.max(0, this.#idleTimeout - this.#leftFor)
    this.#leftFor = 0
    this.#expiresAt = new Date(Date.now() + left)
    this.#lease = new Alarm(left, () => this.#expire(), { keep: false })
  }

  #expire(): void {
    const why = `nobody came back to session ${this.name} within ${this.#idleTimeout / 1000} s`
    this.#closeReason = why
    this.#closeCode = 'SESSION_EXPIRED'
    this.expired = new SessionExpiredError(`${why}: it has ended, and its jobs with it`)
    this.#send({ type: 'session.expired' })
  }

  endLease(): void {
    this.#lease?.cancel()
    this.#expiresAt = undefined
  }

  shutDown(): void {
    void this.#shutDown().finally(() => {
      this.#events.end(new SessionClosedError(this.name))
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
    const stays = (leaf: JobHost): boolean => this.#comesBack && leaf.durable
    const ours = leaves.filter((leaf) => leaf.state !== 'Disconnected' && !stays(leaf))
    await Promise.allSettled([
      ...ours.map((leaf) => stopUnlessLost(leaf, request)),
      ...leaves.filter(stays).map((leaf) => leaf.leave()),
    ])
    const { runspace, thread, process, machine } = this.#engines
    await Promise.allSettled([runspace, thread, process, machine].map((engine) => engine[Symbol.asyncDispose]()))
    for (const one of hosts.flatMap((host) => [host, ...host.children])) {
      if (!isFinished(one.state)) await one.abandon()
    }
    const over: unknown[] = []
    for (const job of [...this.all()]) {
      // What it had said is there after an orderly end as after a kill, for who comes back to it.
      if (!this.#keeping.has(job) || !this.#comesBack) over.push(this.#table.forget(job))
    }
    if (this.#comesBack) this.#row?.leave()
    // In one turn with its jobs' rows: all of it is there, or nothing.
    else over.push(this.#row?.delete())
    if (this.#row) await Promise.all(over)
  }

  // ── what outlives the peer ──────────────────────────────────────────────────────────────────────────────────────────

  /** On disk, as it is now. @throws StoreError */
  async written(): Promise<void> {
    await this.#row?.put()
  }

  #stored(): StoredSession {
    this.#lastWritten = this.#lastJob
    return {
      v: SESSION_ROW,
      instanceId: this.instanceId,
      id: this.id,
      kind: this.kind as StoredSession['kind'],
      owner: this.owner,
      options: this.#options,
      name: this.name,
      idleTimeout: this.#idleTimeout,
      buffering: this.#buffering,
      epoch: this.#epoch,
      lastJob: this.#lastJob,
      left: this.#left,
    }
  }

  /** Its jobs, as they were written down. Nothing goes on before `goOn`. */
  async restore(families: readonly StoredFamily[]): Promise<void> {
    const home = this.#revivalHome()
    const rows: StoredFamily[] = []
    for (const family of families) {
      this.#lastJob = Math.max(this.#lastJob, family.job.id)
      if (family.job.id > 0 && isFinished(family.job.state)) rows.push(family)
    }
    this.#lastWritten = Math.max(this.#lastWritten, 0)
    for (const family of rows) this.#table.restore(revivedRow(family, home))
    for (const family of families) {
      const { job } = family
      if (job.id > 0 && isFinished(job.state)) continue
      if (job.id === 0) this.#keeping.restored(family)
      const revived = await revivedHost(family, home)
      this.#table.restoreHost(revived.host)
      this.#revived.push(revived)
    }
  }

  /** A number that was given, though its job cannot be read. */
  numbered(id: number): void {
    this.#lastJob = Math.max(this.#lastJob, id)
  }

  /** Each job that had not ended goes on, or ends. Settles when those that end have. */
  async goOn(): Promise<void> {
    await Promise.all(this.#revived.splice(0).map(async (one) => resume(one)))
  }

  #revivalHome(): RevivalHome {
    const { store } = this.#home
    return {
      rowHome: this.#keeping.rowHome,
      logLimit: store.logLimit,
      buffering: this.#buffering,
      log: async (job) => store.log(logName(this.instanceId, { instanceId: job })),
      share: (text) => this.#table.share(text),
      common: (id) => this.#common(id),
      engine: ({ id }, { spec, shared }) => this.#engines[shared ? 'process' : engineOf(spec, id > 0)],
      remote: (open) => this.#remote(open),
      find: (job) => this.#table.seek(job),
      entry: (job, open) => this.#keeping.again(job, open),
    }
  }

  #remote({ target, lostAfter, held, far }: OpenJob): Engine {
    // A session that is held may not be back when it is asked for this.
    const session = held ?? (target && 'session' in target ? target.session : undefined)
    if (session !== undefined && this.#home.takenUp) return this.#home.takenUp(session, far)
    return this.#home.target(target!, lostAfter, true).engine
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
  #placed(work: WorkSpec, engine: keyof SessionEngines): WorkSpec {
    // It is offered here, and brings all that it needs with it.
    if (engine === 'machine') return work
    const { surroundings: around } = this
    const env = around.env || work.env ? { ...around.env, ...work.env } : undefined
    const placed = { ...work, cwd: work.cwd ?? around.cwd, env }
    // The runspace has its own, from its start.
    if (work.kind === 'command' || engine === 'runspace') return placed
    const { maxMemory = around.maxMemory, permissions = around.permissions } = work
    return { ...placed, ...(maxMemory !== undefined && { maxMemory }), ...(permissions && { permissions }) }
  }

  async #make(
    spec: WorkSpec,
    startId: string,
    on: readonly TargetSpec[] | undefined,
    options: { throttle?: number; lostAfter?: number },
    listed: boolean,
  ): Promise<JobHost> {
    // Without an await where there is time: what is asked for next finds it in the table.
    const free = spec.kind === 'machine' ? this.#engines.machine.mayBegin?.() : undefined
    if (free) {
      await free
      this.#throwIfClosed()
    }
    if (listed) this.#table.throwIfFull(on?.length ?? 0)
    if (on && spec.kind === 'machine') throw new UsageError('a machine is spawned in one session: open one there')
    const when = this.#when(spec)
    const again = rules(spec)
    // Whatever runs in the runspace has it for itself; refused at once, before anything is made.
    const engine = engineOf(spec, listed)
    if (!on && engine === 'thread' && this.surroundings.permissions)
      throw new UsageError(`session ${this.name} has permissions, and those of a process do not hold in its threads`, {
        hint: "engine 'process', or a session without",
      })
    const alone = !on && engine === 'runspace'
    if (alone && this.#running) throw new SessionBusyError(this.name)
    const id = listed ? ++this.#lastJob : 0
    // A run's id is its caller's, who reads it without waiting for our answer.
    const instanceId = !listed && UUID.test(startId) ? startId : keptText(crypto.randomUUID())
    this.#table.throwIfTaken(instanceId)
    const name = spec.name ?? (listed ? `Job${id}` : 'run')
    // A script of a job may be sent to at any time; who calls a run has said all there is.
    const input = spec.kind === 'machine' ? undefined : (spec.input ?? (listed && spec.kind !== 'command'))
    // When, how long and how often is seen to here, not where it runs; only a deadline is kept there as well.
    const work: WorkSpec = { ...withoutRules(spec), startId, input }
    const common = this.#common(id)
    const kept = listed && this.#row !== undefined
    const { throttle, lostAfter } = options
    // Peers that share a map have no jobs of their own here: it has one log, in which each item stands once.
    const shared = on && spec.map ? on.map((target) => this.#home.target(target, lostAfter, false)) : undefined
    const targets = shared
      ? undefined
      : on?.map((target, index) =>
          this.#child({ name, instanceId, listed }, work, target, index + 1, { lostAfter, again }, common),
        )
    let host: JobHost
    if (targets) {
      const location = targets.map((child) => child.location).join(',')
      const head = { ...common, instanceId, name, type: 'RemoteJob', location } as const
      const most = throttle ?? THROTTLE
      const entry = kept
        ? this.#keeping.entry(head, undefined, { spec: work, throttle: most, ...waits(when) })
        : undefined
      host = new JobHost({ ...head, spec: work, throttle: most, deadline: spec.deadline, ...when, entry })
      host.adopt(targets)
    } else {
      const type = spec.map
        ? 'PSTaskJob'
        : engine === 'machine'
          ? 'MachineJob'
          : engine === 'thread'
            ? 'ThreadJob'
            : listed
              ? 'BackgroundJob'
              : 'RemoteJob'
      const location = shared ? shared.map((place) => place.location).join(',') : 'localhost'
      const placed = shared ? work : this.#placed(work, engine)
      const entry = kept
        ? this.#keeping.entry(
            { ...common, instanceId, name, type, location },
            undefined,
            {
              spec: { ...placed, ...again },
              ...(shared && { shared: true }),
              ...(!shared && this.#engines[engine].keeps?.(placed) && { durable: true }),
              ...waits(when),
            },
            !shared && this.#engines[engine].queues?.(placed) === true,
          )
        : undefined
      host = new JobHost({
        ...common,
        instanceId,
        name,
        type,
        location,
        spec: placed,
        engine: shared ? new SharedMapEngine(shared) : this.#engines[engine],
        deadline: spec.deadline,
        ...when,
        ...again,
        entry,
      })
    }
    // In the table before anything is waited for: who started it may be reading it already. What is written down is there
    // when it is on disk: who has seen it finds it again.
    if (!host.entry) this.#table.add(host)
    if (alone) {
      this.#running = host
      void host.finished.then(() => {
        if (this.#running === host) this.#running = undefined
        this.#changed()
      })
    }
    this.#changed()
    try {
      if (host.entry) await this.#write(host)
      else for (const one of targets ?? [host]) await this.#giveLog(one)
    } catch (error) {
      void this.#table.forget(host)
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
    if (targets && !listed) this.#leaveIfLost(host, { lostAfter, again })
    return host
  }

  /** Accepted is on disk: with its children in one turn, all or none. @throws StoreError: nothing of it is left */
  async #write(host: JobHost, cursor?: number): Promise<void> {
    const all = [host, ...host.children]
    this.#table.coming += all.length
    try {
      const written = all.map((one) => one.entry!.put())
      const leaves = host.children.length > 0 ? host.children : all
      await Promise.all([...written, ...leaves.map((one) => this.#giveLog(one, cursor))])
      this.#throwIfClosed()
      this.#table.add(host)
      this.#changed()
    } catch (error) {
      // Those that were written may be so still when the others have failed.
      for (const one of all) void one.entry!.delete().catch(() => undefined)
      await host.abandon()
      throw error
    } finally {
      this.#table.coming -= all.length
    }
  }

  /**
   * A run whose sessions were lost under it, all that it still waits for, is told so and stays behind as a job: its work
   * may go on there, and can be received when a session is back.
   */
  #leaveIfLost(run: JobHost, how: LeftHow): void {
    const unwatch = run.watch(({ state }) => {
      if (isFinished(state)) return unwatch()
      if (!lostChild(run)) return
      unwatch()
      void this.#leave(run, how)
    })
  }

  async #leave(run: JobHost, how: LeftHow): Promise<void> {
    const id = how.id ?? ++this.#lastJob
    // Who is told of it finds it again, also after a restart; where nothing can be written it is there as long as we are.
    if (this.#row && !this.#keeping.has(run)) await this.#keeping.keepLost(run, id, how).catch(() => undefined)
    // Read to its end, or closed, in the meantime.
    if (this.#table.seek(run.instanceId) !== run) return void (await this.#keeping.forget(run))
    const child = lostChild(run)
    // It is back, or over: its caller goes on with it.
    if (!child) return this.#leaveIfLost(run, { ...how, id })
    const { location, reason } = child.snapshot()
    const lost = new PeerLostError(`${location} could not be reached again; the run is job ${id} from now on`, {
      cause: reason,
      hint: `connect the session when it can be reached, and receive job ${id}`,
    })
    this.#keeping.enlisted(run)
    // Also where the job could not be written down, its number is not given again.
    void this.#row?.note()
    this.#table.enlist(run, id, lost)
    this.#changed()
  }

  #child(
    parent: { readonly name: string; readonly instanceId: string; readonly listed: boolean },
    spec: WorkSpec,
    target: TargetSpec,
    position: number,
    { lostAfter, again }: { lostAfter: number | undefined; again: Again },
    common: Common,
  ): JobHost {
    const { engine, location } = this.#home.target(target, lostAfter, parent.listed)
    // A start over there is this start: its id is ours and the child's place.
    const childSpec: WorkSpec = { ...spec, startId: `${spec.startId}.${position}` }
    const instanceId = keptText(crypto.randomUUID())
    const name = `${parent.name}.${position}`
    const head = { instanceId, id: common.id, name, type: 'RemoteJob', location, position } as const
    const kept = parent.listed && this.#row !== undefined
    const entry = kept
      ? this.#keeping.entry(head, parent.instanceId, { spec: { ...childSpec, ...again }, target, lostAfter })
      : undefined
    return new JobHost({ ...common, ...head, spec: childSpec, engine, ...again, entry })
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
    const { init: setUp } = this.surroundings
    return { id, peer, here, stopGrace, session: () => this.snapshot, ...(setUp && { setUp }) }
  }

  /** `cursor`: of a copy, where its reader begins. */
  async #giveLog(host: JobHost, cursor?: number): Promise<void> {
    const store = this.#keeping.storeOf(host)
    const stored = await store.log(host.entry?.key ?? logName(this.instanceId, host), true)
    host.openLog(stored, store.logLimit, this.#buffering, { cursor })
  }

  /** A run of a session we hold, started by another client: from here on a job of this table. */
  async takeUp(
    run: Pick<JobSnapshot, 'command'>,
    cursor: number,
    name: string | undefined,
    engine: RemoteEngine,
    location: string,
  ): Promise<JobHost> {
    this.#throwIfClosed()
    this.#table.throwIfFull(1)
    const common = this.#common(++this.#lastJob)
    const spec: WorkSpec = { kind: 'code', command: run.command, startId: crypto.randomUUID() }
    const shared = { ...common, type: 'RemoteJob' as const, location, spec }
    const head = { ...shared, instanceId: keptText(crypto.randomUUID()), name: name ?? `Job${common.id}` }
    const entry = this.#keeping.entry(head, undefined, { spec, throttle: THROTTLE })
    const parent = new JobHost({ ...head, ...(entry && { entry }) })
    const own = { ...shared, instanceId: keptText(crypto.randomUUID()), name: `${head.name}.1`, position: 1 }
    const written = this.#keeping.entry(own, head.instanceId, {
      spec: { ...spec, startId: `${spec.startId}.1` },
      target: { session: engine.session!.instanceId },
    })
    const child = new JobHost({ ...own, engine, ...(written && { entry: written }) })
    parent.adopt([child])
    if (parent.entry) {
      await this.#write(parent, cursor)
      parent.start()
      return parent
    }
    // At once: whoever is told that a run was lost finds it.
    this.#table.add(parent)
    this.#changed()
    try {
      // All of it is copied, and its reader goes on where the last one stopped.
      await this.#giveLog(child, cursor)
    } catch (error) {
      void this.#table.forget(parent)
      throw error
    }
    parent.start()
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

/** One that is out of reach, where all that it still waits for are. */
function lostChild(run: JobHost): JobHost | undefined {
  const open = run.children.filter((child) => !isFinished(child.state))
  const lost = run.state === 'Disconnected' && open.every(({ engine }) => engine instanceof RemoteEngine && engine.lost)
  return lost ? open[0] : undefined
}

/** As it is written down. */
function waits({ delay, after }: Pick<JobOptions, 'delay' | 'after'>): Pick<EntryPlan, 'delay' | 'after'> {
  return { delay, after: after?.instanceId }
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

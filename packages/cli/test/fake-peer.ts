// A peer in memory that keeps the contract the command line relies on: job tables, cursors, sessions, a book. What work
// does is up to the test: `peer.onStart` scripts it.
import { isFinished } from '@errand/runtime/client'
import type {
  ActorInspection,
  ActorTransition,
  Completion,
  ConnectOptions,
  Duration,
  Job,
  JobFilter,
  JobRecord,
  JobSnapshot,
  JobState,
  LocalPeer,
  MapOptions,
  NamedActor,
  Outcome,
  PeerEvent,
  PeerInfo,
  PingAnswer,
  Question,
  ReceiveOptions,
  Run,
  ScriptContext,
  Session,
  SessionSnapshot,
  SessionState,
  SpawnOptions,
  StartOptions,
  Target,
  Work,
} from '@errand/runtime/client'

type Said = Pick<JobRecord, 'kind'> & Record<string, unknown>

export function failure(code: string, message: string, hint?: string): Error {
  return Object.assign(new Error(message), { code, ...(hint && { hint }) })
}

/** As errors name what was typed. */
function shown(which: unknown): string {
  return typeof which === 'string' && !/^\d/.test(which) ? `'${which}'` : String(which)
}

/** Options without their signal, to be compared. */
function plain<T extends object>(options: T): T {
  return Object.fromEntries(Object.entries(options).filter(([key]) => key !== 'signal')) as T
}

let count = 0
/** Looks like a UUID, and no two begin alike. */
const newId = (): string => `${String(++count).padStart(8, 'a')}-0000-4000-8000-000000000000`

export class FakeJob implements Job {
  readonly instanceId: string = newId()
  readonly records: JobRecord[] = []
  readonly cursors = new Map<string, number>()
  readonly calls: [string, unknown][] = []
  children: FakeJob[] = []
  state: JobState = 'Running'
  reason: Error | undefined
  exitCode: number | undefined
  endedAt: Date | undefined
  readonly begunAt: Date = new Date('2026-11-22T09:00:00Z')
  readonly type: Job['type']
  readonly peer = 'peer-id'
  question: Question | undefined
  readonly history: { state: JobState; at: Date }[] = [{ state: 'Running', at: this.begunAt }]
  readonly sent: unknown[] = []
  /** What a stop does; by default the job is Stopped at once. */
  onStop: (options: { grace?: unknown }) => void = () => this.end('Stopped')
  #wake = Promise.withResolvers<void>()
  removed = false

  readonly id: number
  readonly work: Work
  readonly options: StartOptions
  readonly name: string
  readonly command: string
  readonly location: string
  readonly position: number | undefined

  constructor(
    id: number,
    work: Work,
    options: StartOptions,
    how: { location?: string; position?: number; type?: Job['type'] } = {},
  ) {
    this.id = id
    this.work = work
    this.options = options
    this.name = options.name ?? `Job${how.position === undefined ? id : `${id}.${how.position}`}`
    this.command = Array.isArray(work)
      ? work.join(' ')
      : 'code' in work
        ? work.code
        : 'file' in work
          ? String(work.file)
          : 'work'
    this.location = how.location ?? 'localhost'
    this.position = how.position
    this.type = how.type ?? 'BackgroundJob'
  }

  say(...said: Said[]): this {
    for (const one of said) {
      this.records.push({
        seq: this.records.length,
        at: new Date('2026-11-22T09:00:01Z'),
        location: this.location,
        jobId: this.instanceId,
        ...one,
      } as JobRecord)
    }
    this.#changed()
    return this
  }
  yields(...values: unknown[]): this {
    return this.say(...values.map((value): Said => ({ kind: 'output', value })))
  }
  end(state: JobState = 'Completed', how: { reason?: Error; exitCode?: number } = {}): this {
    if (isFinished(this.state)) return this
    this.state = state
    this.reason = how.reason
    this.exitCode = how.exitCode
    this.endedAt = new Date('2026-11-22T09:00:02Z')
    this.history.push({ state, at: this.endedAt })
    this.#changed()
    return this
  }
  /** Comes to a state that is no end. */
  become(state: JobState, reason?: Error): this {
    this.state = state
    this.reason = reason
    this.#changed()
    return this
  }
  #changed(): void {
    const wake = this.#wake
    this.#wake = Promise.withResolvers()
    wake.resolve()
  }
  async #next(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    const aborted = Promise.withResolvers<never>()
    const abort = (): void => aborted.reject(signal!.reason)
    signal?.addEventListener('abort', abort)
    try {
      await Promise.race([this.#wake.promise, aborted.promise, ...this.children.map((child) => child.#wake.promise)])
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  get errorCount(): number {
    return this.records.filter(({ kind }) => kind === 'error').length
  }
  get hasMoreData(): boolean {
    if (!isFinished(this.state)) return true
    if (this.children.length > 0) return this.children.some((child) => child.hasMoreData)
    return (this.cursors.get('owner') ?? 0) < this.records.length
  }
  get finished(): Promise<JobSnapshot> {
    return this.wait()
  }
  get snapshot(): JobSnapshot {
    const {
      id,
      instanceId,
      name,
      command,
      location,
      peer,
      type,
      state,
      hasMoreData,
      reason,
      exitCode,
      begunAt,
      endedAt,
      errorCount,
      history,
      question,
    } = this
    return {
      ...{
        id,
        instanceId,
        name,
        command,
        location,
        peer,
        session: 's',
        type,
        state,
        hasMoreData,
        reason,
        exitCode,
        begunAt,
        endedAt,
        errorCount,
        history: [...history],
      },
      ...(question && { question }),
      ...(this.paused && { paused: this.paused }),
      ...(this.position !== undefined && { parentId: id, position: this.position }),
      children: this.children.map((child) => child.snapshot),
    }
  }

  async *receive(o: ReceiveOptions = {}): AsyncGenerator<JobRecord> {
    this.calls.push(['receive', o])
    if (this.children.length > 0 && o.from !== undefined) throw failure('USAGE', 'from needs a child')
    if (this.children.length > 0) return yield* this.#receiveChildren(o)
    const reader = o.reader ?? 'owner'
    const moves = !o.keep && o.from === undefined
    let at = o.from ?? this.cursors.get(reader) ?? 0
    for (;;) {
      while (at < this.records.length) {
        const record = this.records[at++]!
        try {
          if ((!o.kinds || o.kinds.includes(record.kind)) && (!o.location || o.location === record.location))
            yield record
        } finally {
          if (moves) this.cursors.set(reader, at)
        }
      }
      if (!o.follow || isFinished(this.state)) return
      await this.#next(o.signal)
    }
  }
  async *#receiveChildren(o: ReceiveOptions): AsyncGenerator<JobRecord> {
    if (o.recurse === false) return
    for (;;) {
      const finished = isFinished(this.state)
      for (const child of this.children) yield* child.receive({ ...o, follow: false })
      if (!o.follow || finished) return
      await this.#next(o.signal)
    }
  }
  [Symbol.asyncIterator](): AsyncIterator<JobRecord> {
    return this.receive({ follow: true })
  }
  async output(): Promise<unknown[]> {
    return this.records.flatMap((record) => (record.kind === 'output' ? [record.value] : []))
  }
  async save(path: string, o?: ReceiveOptions): Promise<void> {
    this.calls.push(['save', { path, ...o }])
  }
  async *watch(o: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<JobSnapshot> {
    while (!o.signal?.aborted) {
      yield this.snapshot
      if (isFinished(this.state)) return
      await this.#next(o.signal).catch(() => {}) // aborted: over
    }
  }
  async send(value: unknown): Promise<void> {
    if (isFinished(this.state)) throw failure('INPUT_CLOSED', `${this.name} has ended: it takes no input any more`)
    this.sent.push(value)
  }
  async endInput(): Promise<void> {
    this.calls.push(['endInput', {}])
  }
  /** It waits for its reader. */
  paused: 'output-full' | undefined
  /** It is Blocked until somebody has answered; `fits` may refuse an answer. */
  asks(prompt: string, more: Partial<Question> = {}, fits: (value: unknown) => boolean = () => true): this {
    this.question = { id: String(++this.#asked), prompt, askedAt: new Date('2026-11-22T09:00:01Z'), ...more }
    this.#fits = fits
    this.state = 'Blocked'
    this.history.push({ state: 'Blocked', at: this.question.askedAt })
    this.#changed()
    return this
  }
  #asked = 0
  #fits: (value: unknown) => boolean = () => true
  async answer(value: unknown, o: { question?: string } = {}): Promise<void> {
    if (!this.question) throw failure('JOB_STATE', `${this.name} asks nothing: it is ${this.state}`)
    if (o.question !== this.question.id) throw failure('QUESTION_ANSWERED', 'it has its answer already')
    if (!this.#fits(value)) throw failure('INVALID_ANSWER', 'that answer does not fit')
    this.calls.push(['answer', value])
    this.question = undefined
    this.state = 'Running'
    this.#changed()
  }
  async setThrottle(most: number): Promise<JobSnapshot> {
    this.calls.push(['setThrottle', most])
    return this.snapshot
  }
  async suspend(): Promise<JobSnapshot> {
    return this.#turn('Suspended', 'suspended', this.state === 'Running')
  }
  async resume(): Promise<JobSnapshot> {
    return this.#turn('Running', 'resumed', this.state === 'Suspended')
  }
  #turn(state: JobState, what: string, able: boolean): JobSnapshot {
    if (!able) throw failure('JOB_STATE', `${this.name} is ${this.state} and cannot be ${what}`)
    this.state = state
    this.history.push({ state, at: this.begunAt })
    this.#changed()
    return this.snapshot
  }
  async wait(o: { for?: JobState[]; signal?: AbortSignal | undefined } = {}): Promise<JobSnapshot> {
    while (!isFinished(this.state) && !o.for?.includes(this.state)) await this.#next(o.signal)
    return this.snapshot
  }
  async stop(o: { grace?: unknown; signal?: AbortSignal | undefined } = {}): Promise<JobSnapshot> {
    this.calls.push(['stop', 'grace' in o ? { grace: o.grace } : {}])
    this.onStop(o)
    return this.wait(o)
  }
  async items(): Promise<never> {
    throw failure('JOB_STATE', `${this.name} is no map: it has no items`)
  }
  /** Of a machine's job: what its actor shows, and what has happened in it. */
  actor: ActorInspection | undefined
  readonly told: { readonly type: string }[] = []
  /** Why it does not take an event. */
  refuses: (event: { readonly type: string }) => Error | undefined = () => undefined
  #actorThere(): ActorInspection {
    if (this.type !== 'MachineJob') throw failure('USAGE', `${this.name} is no machine: it takes no events`)
    if (isFinished(this.state) || !this.actor)
      throw failure('ACTOR_GONE', `${this.name} has ended: it is ${this.state}`)
    return this.actor
  }
  async tell(event: { readonly type: string }): Promise<void> {
    this.#actorThere()
    const refused = this.refuses(event)
    if (refused) throw refused
    this.told.push(event)
  }
  /** What it replies; throws what it is refused with. */
  replies: (event: { readonly type: string }, signal?: AbortSignal) => unknown = () => undefined
  readonly questions: [event: { readonly type: string }, options: object][] = []
  async ask<T>(
    event: { readonly type: string },
    o: { timeout?: Duration; signal?: AbortSignal | undefined } = {},
  ): Promise<Outcome<T>> {
    try {
      this.#actorThere()
      this.questions.push([event, plain(o)])
      return { outcome: 'ok', value: (await this.replies(event, o.signal)) as T }
    } catch (error) {
      o.signal?.throwIfAborted()
      const { code } = error as { code?: string }
      return { outcome: code === 'OUTCOME_UNKNOWN' ? 'unknown' : 'error', error: error as Error }
    }
  }
  async inspect(): Promise<ActorInspection> {
    return this.#actorThere()
  }
  /** Something happens in its actor. */
  happens(...transitions: Omit<ActorTransition, 'seq' | 'at'>[]): this {
    for (const one of transitions) {
      const { length } = this.happened
      const at = new Date(Date.UTC(2026, 10, 22, 9, 0, 1 + length))
      this.happened.push({ seq: length + 1, at, ...one })
    }
    if (this.actor) this.actor = { ...this.actor, transitions: this.happened.slice(-16) }
    this.#changed()
    return this
  }
  readonly happened: ActorTransition[] = []
  async *transitions(o: { after?: number; signal?: AbortSignal | undefined } = {}): AsyncGenerator<ActorTransition> {
    if (this.type !== 'MachineJob') throw failure('USAGE', `${this.name} is no machine: it takes no events`)
    if (isFinished(this.state)) return
    for (let last = o.after ?? Math.max(0, this.happened.length - 16); !o.signal?.aborted;) {
      const next = this.happened[last]
      if (next) {
        last++
        yield next
      } else if (isFinished(this.state)) return
      else await this.#next(o.signal).catch(() => {}) // aborted: over
    }
  }
  async remove(o: { force?: boolean } = {}): Promise<void> {
    if (!isFinished(this.state) && !o.force)
      throw failure('JOB_NOT_FINISHED', `job ${this.id} is ${this.state}, not finished`)
    this.end('Stopped')
    this.removed = true
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A job table; a session's or the peer's own. */
export class FakeTable {
  readonly table: FakeJob[] = []
  onStart: (job: FakeJob) => void = (job) => void job.end()
  protected last = 0

  // oxlint-disable-next-line typescript/no-explicit-any -- what the work yields is the test's
  async start(work: Work, options: StartOptions & { on?: Target | readonly Target[] } = {}): Promise<Job<any>> {
    options.signal?.throwIfAborted()
    const on = options.on === undefined ? undefined : [options.on].flat()
    const id = ++this.last
    if (options.input !== undefined) void this.#feed(options.input as AsyncIterable<unknown>, id)
    if (!on)
      return this.add(
        new FakeJob(id, work, options, { type: options.engine === 'thread' ? 'ThreadJob' : 'BackgroundJob' }),
      )
    const names = on.map((target) => (typeof target === 'string' ? target : (target as Session).location))
    const job = new FakeJob(id, work, options, { location: names.join(','), type: 'RemoteJob' })
    job.children = names.map(
      (location, index) => new FakeJob(id, work, {}, { location, position: index + 1, type: 'RemoteJob' }),
    )
    return this.add(job)
  }
  /** Machines that are offered, by name: what makes an actor of a job. */
  readonly machines = new Map<string, (job: FakeJob) => void>()
  async startMachine(machine: unknown, options: SpawnOptions = {}): Promise<Job> {
    const name = String(machine)
    const spawn = this.machines.get(name)
    if (!spawn) return noMachine(name)
    const { name: called } = options
    const job = new FakeJob(++this.last, [name], called === undefined ? {} : { name: called }, { type: 'MachineJob' })
    this.spawned.push([name, plain(options)])
    spawn(job)
    this.table.push(job)
    return job
  }
  readonly spawned: [machine: string, options: SpawnOptions][] = []
  async #feed(input: AsyncIterable<unknown>, id: number): Promise<void> {
    const values: unknown[] = []
    try {
      for await (const value of input) values.push(value)
      this.fed.set(id, values)
    } catch (error) {
      this.table.find((job) => job.id === id)?.end('Failed', { reason: error as Error })
    }
  }
  /** What jobs were given with `input`, by number, once it is at its end. */
  readonly fed = new Map<number, unknown[]>()
  add(job: FakeJob): FakeJob {
    this.last = Math.max(this.last, job.id)
    this.table.push(job)
    this.onStart(job)
    return job
  }
  get live(): FakeJob[] {
    return this.table.filter((job) => !job.removed)
  }
  readonly #happened: PeerEvent[] = []
  #happens = Promise.withResolvers<void>()
  /** Events are the test's: each comes to who listens, and to who begins to later. */
  tell(...events: PeerEvent[]): void {
    this.#happened.push(...events)
    const { resolve } = this.#happens
    this.#happens = Promise.withResolvers()
    resolve()
  }
  async *events({ signal }: { signal?: AbortSignal | undefined } = {}): AsyncGenerator<PeerEvent> {
    yield { kind: 'begin', at: new Date('2026-11-22T09:00:00Z') }
    const aborted = Promise.withResolvers<void>()
    signal?.addEventListener('abort', () => aborted.resolve())
    for (let at = 0; !signal?.aborted;) {
      if (at < this.#happened.length) yield this.#happened[at++]!
      else await Promise.race([this.#happens.promise, aborted.promise])
    }
  }
  /** Of its thread jobs, as it was set. */
  most: number | undefined
  async setThrottle(most: number): Promise<void> {
    this.most = most
  }
  readonly filters: JobFilter[] = []
  async jobs(filter: JobFilter & { signal?: AbortSignal | undefined } = {}): Promise<Job[]> {
    const rest: JobFilter = plain(filter)
    this.filters.push(rest)
    const states = rest.state === undefined ? undefined : [rest.state].flat()
    const named = rest.name === undefined ? undefined : new RegExp(`^${rest.name.replaceAll('*', '.*')}$`, 'i')
    const fits = (job: FakeJob): boolean => named === undefined || named.test(job.name)
    const found = this.live.filter((job) => (!states || states.includes(job.state)) && fits(job))
    return rest.includeChildren ? found.flatMap((job) => [job, ...job.children]) : found
  }
  async job(which: number | string | Job | JobSnapshot): Promise<Job> {
    const name = typeof which === 'object' ? which.instanceId : String(which)
    const all = this.live.flatMap((job) => [job, ...job.children])
    const found = all.filter(
      (job) =>
        (job.position === undefined ? String(job.id) : `${job.id}.${job.position}`) === name ||
        job.instanceId === name ||
        job.name === name,
    )
    if (found.length === 0)
      throw failure('JOB_NOT_FOUND', `no job ${shown(name)} on laptop`, '`errand list` shows the jobs there are')
    return found[0]!
  }
}

/** What is offered is played by real peers. */
function noMachine(machine: unknown): never {
  throw failure('MACHINE_NOT_OFFERED', `laptop offers no machine ${shown(String(machine))}`)
}

export class FakeSession extends FakeTable implements Session {
  readonly computerType = 'RemoteMachine' as const
  readonly configurationName = 'errand'
  readonly transport = 'libp2p'
  readonly peerId = 'far-id'
  readonly instanceId: string = newId()
  state: SessionState = 'Opened'
  availability: Session['availability'] = 'Available'
  readonly calls: [string, unknown][] = []
  /** What `receive` finds. */
  waiting: FakeJob | undefined
  /** Plays a line or a command of a run; throws what the run throws. */
  onRun: (work: Work, job: FakeJob, signal: AbortSignal) => Promise<void> | void = () => {}
  readonly runs: Work[] = []
  completion: Completion = { names: [], on: '', more: 0 }
  readonly id: number
  readonly location: string
  readonly name: string

  constructor(id: number, location: string, name: string = `Session${id}`) {
    super()
    this.id = id
    this.location = location
    this.name = name
  }
  get snapshot(): SessionSnapshot {
    const { id, instanceId, name, location, peerId, transport, configurationName, computerType, state, availability } =
      this
    const jobs = this.live.length
    return {
      id,
      instanceId,
      name,
      location,
      peerId,
      transport,
      configurationName,
      computerType,
      state,
      availability,
      idleTimeout: 7_200_000,
      buffering: 'block' as const,
      jobs,
      epoch: 1,
    }
  }
  run(work: Work, options: StartOptions = {}): Run<never> {
    this.runs.push(work)
    const job = new FakeJob(0, work, options, { location: this.location })
    const played = (async () => {
      try {
        await this.onRun(work, job, options.signal ?? new AbortController().signal)
        job.end()
      } catch (error) {
        // As a script's host does: what was thrown is a record too, and the reason; but not when it was stopped.
        if ((error as { code?: string }).code !== 'JOB_STOPPED') job.say({ kind: 'error', error })
        job.end('Failed', { reason: error as Error })
        throw error
      }
    })()
    played.catch(() => {})
    const run = {
      job: async () => job,
      records: () => job.receive({ follow: true }),
      [Symbol.asyncIterator]: () => job.receive({ follow: true }),
      // oxlint-disable-next-line unicorn/no-thenable -- a Run is one
      then: (resolve: (value: unknown) => unknown, reject: (error: unknown) => unknown) => played.then(resolve, reject),
    }
    return run as unknown as Run<never>
  }
  async complete(text: string): Promise<Completion> {
    this.calls.push(['complete', text])
    return this.completion
  }
  async disconnect(o: object = {}): Promise<void> {
    this.calls.push(['disconnect', o])
    this.state = 'Disconnected'
    this.availability = 'None'
  }
  async connect(o: object = {}): Promise<void> {
    this.calls.push(['connect', plain(o)])
    this.state = 'Opened'
    this.availability = 'Available'
  }
  async receive(): Promise<Job | undefined> {
    this.calls.push(['receive', {}])
    return this.waiting
  }
  async close(): Promise<void> {
    this.calls.push(['close', {}])
    this.state = 'Closed'
  }
  async spawn(machine: unknown): Promise<never> {
    return noMachine(machine)
  }
  async *watch(): AsyncGenerator<SessionSnapshot> {
    yield this.snapshot
  }
  async [Symbol.asyncDispose](): Promise<void> {}
}

export class FakePeer extends FakeTable implements LocalPeer {
  readonly id = 'peer-id'
  readonly name = 'laptop'
  addresses: string[] = ['/ip4/127.0.0.1/tcp/4100/p2p/peer-id']
  readonly held: FakeSession[] = []
  readonly homes = new Map<string, FakeSession>()
  readonly connects: [string, ConnectOptions][] = []
  readonly launched: [readonly string[], object][] = []
  readonly asked: [string, unknown][] = []
  book: PeerInfo[] = []
  closed = 0
  onShutdown: (o: object) => void = () => {}

  async spawn(machine: unknown): Promise<never> {
    return noMachine(machine)
  }
  /** By name, and for the names of other peers by `PEER NAME`. */
  readonly called = new Map<string, NamedActor>()
  async actor(name: string, { on }: { on?: string } = {}): Promise<NamedActor> {
    this.lookedFor.push([name, on])
    const found = this.called.get(on === undefined ? name : `${on} ${name}`)
    if (!found) throw failure('NAME_NOT_FOUND', `no actor is called '${name}' on ${on ?? this.name}`)
    return found
  }
  readonly lookedFor: [name: string, on: string | undefined][] = []
  link(): never {
    throw new Error('the command line links nobody')
  }
  supervise(): never {
    throw new Error('the command line supervises nobody')
  }
  monitor(): never {
    throw failure('USAGE', 'that is no address of an actor')
  }
  async ref(): Promise<never> {
    throw failure('USAGE', 'that is no address of an actor')
  }

  knows(...names: string[]): this {
    for (const name of names)
      this.book.push({ name, id: `id-of-${name}`, addresses: [], grants: ['connect'], connected: false })
    return this
  }
  #known(name: string): void {
    if (name === 'localhost' || this.book.some((peer) => peer.name === name)) return
    throw failure('PEER_NOT_FOUND', `no peer '${name}' in the address book`)
  }
  readonly maps: { inputs: unknown[]; script: (ctx: ScriptContext, item: never) => unknown; options: MapOptions }[] = []
  /** Each input goes through the script, here; what that throws is an error record and fails the job. */
  // oxlint-disable-next-line typescript/no-explicit-any -- what comes of it is the script's
  async map(inputs: any, script: (ctx: ScriptContext, item: any) => unknown, options: MapOptions = {}): Promise<any> {
    const job = new FakeJob(++this.last, ['map'], options, { type: 'PSTaskJob' })
    this.table.push(job)
    const given = { inputs: [] as unknown[], script, options: plain(options) }
    this.maps.push(given)
    const run = async (): Promise<void> => {
      const ctx = { warn: (value: unknown) => void job.say({ kind: 'warning', value }) } as ScriptContext
      let failed = 0
      for await (const item of inputs as AsyncIterable<unknown>) {
        given.inputs.push(item)
        try {
          const made: unknown = await script(ctx, item)
          if (typeof made === 'object' && made !== null && Symbol.asyncIterator in made) {
            for await (const value of made as AsyncIterable<unknown>) job.yields(value)
          } else if (made !== undefined) job.yields(made)
        } catch (error) {
          failed++
          job.say({ kind: 'error', error })
        }
      }
      if (failed === 0) job.end()
      else job.end('Failed', { reason: failure('ITEMS_FAILED', `${failed} of ${given.inputs.length} items failed`) })
    }
    run().catch((error: unknown) => job.end('Failed', { reason: error as Error }))
    return job
  }
  // What no command of ours asks.
  async register(): Promise<void> {}
  async unregister(): Promise<boolean> {
    return false
  }
  async whereis(): Promise<never> {
    throw failure('NAME_NOT_FOUND', 'no actor is called that')
  }
  async *group(): AsyncGenerator<never> {}
  async ping(on: string): Promise<PingAnswer> {
    this.#known(on)
    return { ms: 1, off: 0, grants: ['admin'] }
  }
  hold(session: FakeSession): FakeSession {
    this.held.push(session)
    return session
  }
  async connect(to: string, o: ConnectOptions = {}): Promise<Session> {
    this.#known(to)
    this.connects.push([to, plain(o)])
    return this.hold(new FakeSession(this.held.length + 1, to, o.name))
  }
  async sessions(o: { on?: string } = {}): Promise<readonly SessionSnapshot[]> {
    if (o.on !== undefined) this.#known(o.on)
    return this.held.filter(({ location }) => o.on === undefined || location === o.on).map(({ snapshot }) => snapshot)
  }
  async session(which: number | string | SessionSnapshot): Promise<Session> {
    const found = this.held.find(
      ({ id, name }) => id === which || (typeof which === 'string' && name.toLowerCase() === which.toLowerCase()),
    )
    if (!found) throw failure('SESSION_NOT_FOUND', `no session ${shown(which)} on laptop`)
    return found
  }
  async home(on: string): Promise<Session> {
    this.#known(on)
    const home = this.homes.get(on) ?? new FakeSession(90 + this.homes.size, on, 'home')
    this.homes.set(on, home)
    return home
  }
  run(): never {
    throw new Error('the command line starts and follows')
  }
  async launch(command: readonly string[], o: object = {}): Promise<{ pid: number }> {
    this.launched.push([command, plain(o)])
    return { pid: 4711 }
  }
  async peers(): Promise<readonly PeerInfo[]> {
    return this.book
  }
  async invite(o: object = {}): Promise<string> {
    this.asked.push(['invite', plain(o)])
    return 'errand1-ticket'
  }
  async join(ticket: string, o: { name?: string } = {}): Promise<PeerInfo> {
    this.asked.push(['join', ticket])
    return this.knows(o.name ?? 'server01').book.at(-1)!
  }
  async allow(peer: string, grants: unknown, o: object = {}): Promise<void> {
    this.asked.push(['allow', [peer, grants, plain(o)]])
  }
  async forget(peer: string): Promise<void> {
    this.asked.push(['forget', peer])
  }
  async deny(peer: string): Promise<void> {
    this.asked.push(['deny', peer])
  }
  async status(): Promise<Awaited<ReturnType<LocalPeer['status']>>> {
    const { id, name, addresses } = this
    const running = this.live.filter((job) => !isFinished(job.state)).length
    const jobs = { running, total: this.live.length }
    return {
      pid: 2 ** 30,
      name,
      id,
      version: '0.1.0',
      home: '/home',
      socket: '/home/peer.sock',
      addresses,
      startedAt: new Date(0),
      jobs,
      sessions: this.held.length,
      peers: this.book.length,
      hosted: { sessions: 0, running: 0 },
      offers: { jobs: [], machines: [...this.machines.keys()] },
      onDemand: false,
    }
  }
  async shutdown(o: object = {}): Promise<void> {
    this.onShutdown(o)
  }
  async close(): Promise<void> {
    this.closed++
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

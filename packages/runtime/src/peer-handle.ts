// The handle of a peer: this process's own (peer.ts) or this machine's daemon (client.ts). The same words for both.
import type { Cancel, PeerId } from '@errand/transport'
import { checkedAddress } from './actor-address.ts'
import type {
  ActorAddress,
  GroupSnapshot,
  MachineDefinition,
  Monitor,
  Ref,
  SharedFate,
  SpawnInput,
  SpawnOptions,
  Supervisor,
  SupervisorOptions,
} from './actor-surface.ts'
import { placeOf, type ActorWay, type Whereis } from './actor-way.ts'
import { milliseconds } from './duration.ts'
import { NameNotFoundError, UsageError } from './errors.ts'
import { eventStream, type EventsAnswer } from './event-feed.ts'
import { groupStream, type GroupChanges } from './group-stream.ts'
import { jobHandle, startedJob, type JobHandle } from './job-handle.ts'
import { RunHandle } from './run-handle.ts'
import { SessionHandle } from './session-handle.ts'
import type { SessionRef } from './session-ref.ts'
import { linkActors } from './shared-fate.ts'
import { spawnIn, startMachineIn } from './spawn.ts'
import type {
  Args,
  Command,
  ConnectOptions,
  Duration,
  Env,
  Grant,
  Job,
  JobFilter,
  JobSnapshot,
  MapOptions,
  Output,
  Peer,
  PeerEvent,
  PeerInfo,
  Run,
  Script,
  ScriptContext,
  Session,
  SessionInfo,
  SessionSnapshot,
  SessionState,
  StartOptions,
  Target,
  Work,
} from './surface.ts'
import type { PeerEvent as PeerRequest, TargetSpec } from './wire.ts'
import { mapThrottleLimit, surroundings, throttleLimit, workSpec } from './work.ts'

/** What a peer's handle holds. */
export interface PeerRef {
  readonly id: PeerId
  readonly name: string
  readonly addresses: readonly string[]
  /** The session whose job table is this peer's own. */
  readonly local: SessionRef
  ask(event: PeerRequest, options?: Cancel): Promise<unknown>
  /** The way to actors. */
  readonly actors: ActorWay
  /** A session this peer holds. */
  held(snapshot: SessionSnapshot): SessionRef
  close(): Promise<void>
}

type OnOptions = { on?: Target | readonly Target[]; throttle?: number; lostAfter?: Duration }

export class PeerHandle implements Peer {
  protected readonly via: PeerRef
  readonly #supervisors = new Set<Supervisor>()

  constructor(via: PeerRef) {
    this.via = via
  }

  get id(): PeerId {
    return this.via.id
  }
  get name(): string {
    return this.via.name
  }
  get addresses(): readonly string[] {
    return this.via.addresses
  }

  async start<A extends Args, R>(work: Work<A, R>, o: StartOptions<A> & OnOptions = {}): Promise<Job<Output<R>>> {
    const spec = await workSpec(work, o)
    const event = { type: 'start' as const, spec, ...placed(o) }
    const snapshot = (await this.via.local.request(event, undefined, { signal: o.signal, watch: true })) as JobSnapshot
    return startedJob<Output<R>>(this.via.local, snapshot, o.input)
  }

  async map<I, O>(
    inputs: Iterable<I> | AsyncIterable<I> | Job<I>,
    script: (ctx: ScriptContext, item: I) => O,
    o: MapOptions = {},
  ): Promise<Job<Output<O>>> {
    const { throttle, ordered, itemTimeout, on, lostAfter, ...rest } = o
    if (throttle !== undefined) mapThrottleLimit(throttle)
    if (typeof script !== 'function') throw new UsageError('a map takes a function, called once for each input')
    const work = await workSpec(script as Script, { ...rest, engine: 'thread' })
    const map = {
      ...(throttle !== undefined && { throttle }),
      ...(ordered !== undefined && { ordered }),
      ...(itemTimeout !== undefined && { itemTimeout: milliseconds(itemTimeout) }),
    }
    const places = placed({ ...(on !== undefined && { on }), ...(lostAfter !== undefined && { lostAfter }) })
    const event = { type: 'start' as const, spec: { ...work, map, input: true }, ...places }
    const snapshot = (await this.via.local.request(event, undefined, { signal: o.signal, watch: true })) as JobSnapshot
    return startedJob<Output<O>>(this.via.local, snapshot, inputs)
  }

  run<A extends Args, R>(work: Work<A, R>, o: StartOptions<A> & OnOptions = {}): Run<R> {
    return new RunHandle<R>(this.via.local, workSpec(work, o), placed(o), o)
  }

  async connect(to: string, o: ConnectOptions = {}): Promise<Session> {
    const { signal, idleTimeout, lostAfter, init: _, ...rest } = o
    const around = await surroundings(o)
    const [odd] = Object.keys(around)
    if (rest.session !== undefined && odd !== undefined)
      throw new UsageError(`\`${odd}\` is of a session that is opened, and \`session\` takes up one that is there`)
    const options = {
      ...rest,
      ...around,
      ...(idleTimeout !== undefined && { idleTimeout: milliseconds(idleTimeout) }),
      ...(lostAfter !== undefined && { lostAfter: milliseconds(lostAfter) }),
    }
    return this.#session(await this.via.ask({ type: 'local.connect', to, options }, { signal }))
  }

  async sessions(o: { on?: string; state?: SessionState } & Cancel = {}): Promise<readonly SessionInfo[]> {
    const { on, state, signal } = o
    const event = {
      type: 'local.sessions' as const,
      ...(on !== undefined && { on }),
      ...(state !== undefined && { state }),
    }
    return (await this.via.ask(event, { signal })) as SessionInfo[]
  }

  async session(which: number | string | SessionSnapshot, o: Cancel = {}): Promise<Session> {
    const name = typeof which === 'object' ? which.instanceId : which
    return this.#session(await this.via.ask({ type: 'local.session', which: name }, o))
  }

  async home(on: string, o: Cancel = {}): Promise<Session> {
    return this.#session(await this.via.ask({ type: 'local.home', on }, o))
  }

  async spawn<D extends MachineDefinition>(machine: D | string, o: SpawnOptions<SpawnInput<D>> = {}): Promise<Ref<D>> {
    return (await spawnIn(this.via.local, machine, o)) as unknown as Ref<D>
  }

  startMachine<D extends MachineDefinition>(machine: D | string, o: SpawnOptions<SpawnInput<D>> = {}): Promise<Job> {
    return startMachineIn(this.via.local, machine, o)
  }

  async ref<D extends MachineDefinition = MachineDefinition>(
    address: ActorAddress | Ref<any>,
    o: { definition?: D; onRefused?: (error: Error, event: unknown) => void } = {},
  ): Promise<Ref<D>> {
    return (await this.via.actors.ref(checkedAddress(address), o)) as unknown as Ref<D>
  }

  monitor(actor: ActorAddress | Ref<any>, o: Cancel = {}): Monitor {
    return this.via.actors.monitor(checkedAddress(actor), o)
  }

  link(a: ActorAddress | Ref<any>, b: ActorAddress | Ref<any>): SharedFate {
    const { actors } = this.via
    return linkActors(checkedAddress(a), checkedAddress(b), {
      monitor: (address, signal) => actors.monitor(address, { signal }),
      async stop(address, reason) {
        await actors.ask(placeOf(address), { type: 'actor.stop', epoch: address.epoch, reason })
      },
    })
  }

  async supervise(options: SupervisorOptions): Promise<Supervisor> {
    const [{ supervise }, { PeerSupervision }] = await Promise.all([
      import('./supervisor.ts'),
      import('./peer-supervision.ts'),
    ])
    const supervisor = supervise(new PeerSupervision(this, this.via), options)
    this.#supervisors.add(supervisor)
    void supervisor.finished.then(() => this.#supervisors.delete(supervisor))
    return supervisor
  }

  async jobs(filter: JobFilter & Cancel = {}): Promise<Job[]> {
    const { signal, ...rest } = filter
    const found = (await this.via.local.request({ type: 'jobs', filter: rest }, undefined, { signal })) as JobSnapshot[]
    return found.map((snapshot) => this.#handle(snapshot))
  }

  async job(which: number | string | Job | JobSnapshot, o: Cancel = {}): Promise<Job> {
    const name = typeof which === 'object' ? which.instanceId : which
    return this.#handle((await this.via.local.request({ type: 'job', which: name }, undefined, o)) as JobSnapshot)
  }

  async setThrottle(most: number, o: Cancel = {}): Promise<void> {
    await this.via.local.request({ type: 'throttle', most: throttleLimit(most) }, undefined, o)
  }

  async launch(command: Command, o: { cwd?: string; env?: Env } & Cancel = {}): Promise<{ pid: number }> {
    const { signal, ...rest } = o
    return (await this.via.ask({ type: 'local.launch', argv: [...command], ...rest }, { signal })) as { pid: number }
  }

  async peers(o: Cancel = {}): Promise<readonly PeerInfo[]> {
    return (await this.via.ask({ type: 'local.peers' }, o)) as PeerInfo[]
  }

  events(o: Cancel = {}): AsyncGenerator<PeerEvent> {
    const ask = async (cursor: string | undefined): Promise<EventsAnswer> => {
      const event = { type: 'local.events' as const, ...(cursor !== undefined && { cursor }) }
      return (await this.via.ask(event, o)) as EventsAnswer
    }
    return eventStream(ask, o.signal)
  }

  async register(name: string, actor: Ref | ActorAddress, o: { replace?: boolean } & Cancel = {}): Promise<void> {
    const { signal, replace } = o
    const { peer, path, epoch, machine } = 'address' in actor ? actor.address : actor
    const address = { peer, path, epoch, ...(machine !== undefined && { machine }) }
    await this.via.ask({ type: 'local.register', name, address, ...(replace !== undefined && { replace }) }, { signal })
  }

  async unregister(name: string, o: Cancel = {}): Promise<boolean> {
    return (await this.via.ask({ type: 'local.unregister', name }, o)) as boolean
  }

  async whereis<D extends MachineDefinition = MachineDefinition>(
    name: string,
    o: { on?: string; definition?: D; onRefused?: (error: Error, event: unknown) => void } & Cancel = {},
  ): Promise<Ref<D>> {
    const { on, signal, ...rest } = o
    const event = { type: 'local.whereis' as const, name, ...(on !== undefined && { on }) }
    const { peer, holder } = (await this.via.ask(event, { signal })) as Whereis
    if (!holder) throw new NameNotFoundError(name, on ?? this.name)
    const ref = await this.via.actors.ref({ ...holder, follow: { peer, name } }, rest)
    await ref.ready({ signal })
    return ref as unknown as Ref<D>
  }

  group(name: string, o: { on?: readonly string[] } & Cancel = {}): AsyncGenerator<GroupSnapshot> {
    const { on, signal } = o
    const ask = async (cursor: string | undefined): Promise<GroupChanges> => {
      const event = {
        type: 'local.group' as const,
        group: name,
        ...(on !== undefined && { on }),
        ...(cursor !== undefined && { cursor }),
      }
      return (await this.via.ask(event, { signal })) as GroupChanges
    }
    return groupStream(ask, signal)
  }

  async invite(o: { grants?: Grant[]; owner?: string; uses?: number; ttl?: Duration } & Cancel = {}): Promise<string> {
    const { signal, ttl, ...rest } = o
    const event = { type: 'local.invite' as const, ...rest, ...(ttl !== undefined && { ttl: milliseconds(ttl) }) }
    return (await this.via.ask(event, { signal })) as string
  }

  async join(ticket: string, o: { name?: string } & Cancel = {}): Promise<PeerInfo> {
    const { signal, name } = o
    return (await this.via.ask(
      { type: 'local.join', ticket, ...(name !== undefined && { name }) },
      { signal },
    )) as PeerInfo
  }

  async allow(peer: PeerId, grants: Grant[], o: { name?: string; owner?: string } & Cancel = {}): Promise<void> {
    const { signal, ...rest } = o
    await this.via.ask({ type: 'local.allow', peer, grants, ...rest }, { signal })
  }

  async deny(peer: PeerId, o: Cancel = {}): Promise<void> {
    await this.via.ask({ type: 'local.deny', peer }, o)
  }

  async forget(peer: PeerId, o: Cancel = {}): Promise<void> {
    await this.via.ask({ type: 'local.deny', peer, forget: true }, o)
  }

  async close(): Promise<void> {
    // In order, as long as their children can be told.
    await Promise.all([...this.#supervisors].map((supervisor) => supervisor.stop()))
    await this.via.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #handle<O = unknown>(snapshot: JobSnapshot): JobHandle<O> {
    return jobHandle<O>(this.via.local, snapshot)
  }

  #session(snapshot: unknown): SessionHandle {
    return new SessionHandle(this.via.held(snapshot as SessionSnapshot))
  }
}

/** Targets as they travel. @throws UsageError */
function placed(o: OnOptions): { on?: TargetSpec[]; throttle?: number; lostAfter?: number } {
  const { on, throttle, lostAfter } = o
  if (throttle !== undefined && !(Number.isInteger(throttle) && throttle > 0)) {
    throw new UsageError(`throttle is a whole number from 1 on, not ${throttle}`)
  }
  const targets = on === undefined ? undefined : Array.isArray(on) ? (on as readonly Target[]) : [on as Target]
  if (targets?.length === 0) throw new UsageError('`on` names no target')
  return {
    ...(targets && {
      on: targets.map((target) => (typeof target === 'string' ? { peer: target } : { session: target.instanceId })),
    }),
    ...(throttle !== undefined && { throttle }),
    ...(lostAfter !== undefined && { lostAfter: milliseconds(lostAfter) }),
  }
}

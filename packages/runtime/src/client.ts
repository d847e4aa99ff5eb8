// This machine's peer from outside: the daemon that `errand up` started, over its socket. Loads neither libp2p nor xstate.
import { backOff, type Cancel, type PeerId } from '@errand/transport'
import { socket, socketPath } from '@errand/transport/socket'
import { NamedActorHandle } from './actor-handle.ts'
import type { NamedActor } from './actor-surface.ts'
import { placeOf, type Whereis } from './actor-way.ts'
import { ClientActors } from './client-actors.ts'
import { milliseconds } from './duration.ts'
import { codeOf, NameNotFoundError, PeerLostError, PeerUnreachableError } from './errors.ts'
import type { Link } from './link.ts'
import { openLink } from './link-handshake.ts'
import { defaultHome } from './home.ts'
import { askOver, LinkSessionRef, type Line } from './link-session.ts'
import { untilAborted, whileWanted } from './output-log.ts'
import { PeerHandle, type PeerRef } from './peer-handle.ts'
import type { SessionRef } from './session-ref.ts'
import type { Duration, Peer, PingAnswer, SessionSnapshot } from './surface.ts'
import { isJobName, LOCAL_BEAT, protocols, type PeerEvent } from './wire.ts'

export { className } from '@errand/transport'
export { socketPath as socketOf } from '@errand/transport/socket'
export { isFinished } from './child-jobs.ts'
export { filterJobs, type Family, type JobFacts } from './job-filter.ts'
export { jsonError, jsonValue, type SpecialJson } from './json-value.ts'
export { unmarked } from './launch.ts'
export { milliseconds } from './duration.ts'
export { defaultHome } from './home.ts'
export { isPlainName, knownPeers } from './address-book.ts'
export { lockFile } from './home.ts'
export { lockHolder } from '@errand/transport'
export * from './errors.ts'
export { defineJob, type JobDescription, type Produced, type Producing } from './job-definition.ts'
export { askOf, reply, tellActor, type From, type MachineActionArgs } from './machine-actions.ts'
export { defineMachine, type DurableOptions, type MachineDescription } from './machine-definition.ts'
export type * from './actor-surface.ts'
export type * from './surface.ts'
export { waitAll, waitAny, type Waited, type WaitOptions } from './wait-jobs.ts'

/** What a daemon says of itself. */
export interface PeerStatus {
  readonly pid: number
  readonly name: string
  readonly id: PeerId
  readonly version: string
  readonly home: string | undefined
  readonly socket: string | undefined
  readonly addresses: readonly string[]
  readonly startedAt: Date
  readonly jobs: { readonly running: number; readonly total: number }
  /** Sessions it holds elsewhere and hosts for others. */
  readonly sessions: number
  /** What is here for other peers and clients: sessions, and work in them that has not ended. */
  readonly hosted: { readonly sessions: number; readonly running: number }
  readonly peers: number
  /** What others may ask for by name, with a grant. */
  readonly offers: { readonly jobs: readonly string[]; readonly machines: readonly string[] }
  /** Started by the first command that needed it: it leaves when nobody does any more. */
  readonly onDemand: boolean
}

/** This machine's daemon: a Peer whose job table is everybody's who may open its socket. */
export interface LocalPeer extends Peer {
  /** What it says of itself now. */
  status(o?: Cancel): Promise<PeerStatus>
  /** Asks a peer whether it is there; connects where need be. @throws PeerNotFoundError, PeerUnreachableError, DeniedError */
  ping(on: string, o?: Cancel): Promise<PingAnswer>
  /**
   * Whoever has that name on this peer now, or `on` another: then it needs `jobs:read` there. It goes on meaning that one; a ref
   * that follows the name is what {@link Peer.whereis} gives, and loads XState. @throws as that does
   */
  actor(name: string, o?: { on?: string } & Cancel): Promise<NamedActor>
  /**
   * Ends the daemon. Durable machines go on with
   * the next one. @throws JobNotFinishedError while other jobs run, unless `drain` (waits for them) or `force`
   */
  shutdown(o?: { drain?: boolean; force?: boolean } & Cancel): Promise<void>
}

/** Which daemon, and how patiently. */
export interface LocalOptions extends Cancel {
  /** Whose daemon. Default: the user's. */
  home?: string
  /**
   * How long a daemon that has gone is waited for: one that was started again over the same store by then knows its jobs and
   * sessions, and everything goes on with it, readers where they were. Default 0: what is under way ends with the daemon.
   */
  lostAfter?: Duration
}

/**
 * Connects to this machine's daemon. Closing the result lets go of it; its jobs and sessions go on.
 * @throws PeerUnreachableError when none is running, DeniedError when 128 programs are connected to it already
 * @example
 * await using peer = await connectLocal()
 * console.log((await peer.jobs({ state: 'Running' })).length)
 */
export async function connectLocal(o: LocalOptions = {}): Promise<LocalPeer> {
  const lostAfter = milliseconds(o.lostAfter ?? 0)
  const home = o.home ?? defaultHome()
  const path = socketPath(home)
  const transport = socket({ path })
  await transport.start({
    admits: () => true,
    protocols: protocols(LOCAL_BEAT),
    accept: (channel) => channel.abort(),
  })
  const self = { client: crypto.randomUUID(), name: 'client' }
  const dial = (signal: AbortSignal | undefined): Promise<Link> =>
    openLink({ transport, peer: 'local', addresses: [path], self, signal })
  let link: Link
  try {
    link = await dial(o.signal)
  } catch (error) {
    await transport.close()
    o.signal?.throwIfAborted()
    // It is up, and takes nobody else now, say.
    if (codeOf(error) === 'DENIED') throw error
    throw new PeerUnreachableError(`no errand is up in ${home}`, { cause: error, hint: 'start it with `errand up`' })
  }
  try {
    const status = (await link.ask({}, { type: 'local.status' }, { signal: o.signal })) as PeerStatus & {
      local: SessionSnapshot
    }
    const line = new DaemonLine(link, dial, lostAfter, () => transport.close())
    return new ClientPeer(new ClientRef(line, status))
  } catch (error) {
    await link.close()
    await transport.close()
    throw error
  }
}

/** The way to the daemon: the link there is, or the next one. */
class DaemonLine implements Line {
  link: Link
  readonly instead?: (ended: Link, signal?: AbortSignal) => Promise<Link>
  readonly patience: number
  readonly #dial: (signal: AbortSignal) => Promise<Link>
  readonly #release: () => Promise<void>
  readonly #over = new AbortController()
  #dialling: Promise<Link> | undefined
  #closing: Promise<void> | undefined

  constructor(
    link: Link,
    dial: (signal: AbortSignal) => Promise<Link>,
    lostAfter: number,
    release: () => Promise<void>,
  ) {
    this.link = link
    this.#dial = dial
    this.patience = lostAfter
    this.#release = release
    if (lostAfter > 0) this.instead = (ended, signal) => this.#instead(ended, signal)
  }

  /** Aborts when it is closed. */
  get over(): AbortSignal {
    return this.#over.signal
  }

  async #instead(ended: Link, signal?: AbortSignal): Promise<Link> {
    if (this.link !== ended && this.link.open) return this.link
    return whileWanted(() => (this.#dialling ??= this.#again().finally(() => (this.#dialling = undefined))), signal)
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      this.#over.abort()
      await this.#dialling?.catch(() => undefined) // whoever waits for it is told
      await this.link.close()
      await this.#release()
    })())
  }

  async #again(): Promise<Link> {
    const { signal } = this.#over
    const until = performance.now() + this.patience
    for (const pause of backOff()) {
      if (signal.aborted || performance.now() + pause > until) break
      await wait(pause, signal)
      try {
        return (this.link = await this.#dial(signal))
      } catch (error) {
        if (codeOf(error) !== 'PEER_UNREACHABLE' && codeOf(error) !== 'CHANNEL_CLOSED') throw error
      }
    }
    throw new PeerLostError('the link to the peer of this machine ended; the outcome is unknown')
  }
}

async function wait(ms: number, signal: AbortSignal): Promise<void> {
  const over = Promise.withResolvers<void>()
  const timer = setTimeout(over.resolve, ms)
  await untilAborted(over.promise, signal)
  clearTimeout(timer)
}

class ClientRef implements PeerRef {
  readonly id: PeerId
  readonly name: string
  readonly addresses: readonly string[]
  readonly local: SessionRef
  readonly actors: ClientActors
  readonly #line: DaemonLine
  readonly #held = new Map<string, LinkSessionRef>()

  constructor(line: DaemonLine, status: PeerStatus & { local: SessionSnapshot }) {
    this.id = status.id
    this.name = status.name
    this.addresses = status.addresses
    this.actors = new ClientActors(line, line.over)
    this.local = new LinkSessionRef(line, status.local, undefined, this.actors)
    this.#line = line
  }

  ask(event: PeerEvent, options: Cancel = {}): Promise<unknown> {
    return askOver(this.#line, {}, event, options)
  }

  held(snapshot: SessionSnapshot): SessionRef {
    let ref = this.#held.get(snapshot.instanceId)
    if (!ref) {
      ref = new LinkSessionRef(this.#line, snapshot, this.local, this.actors)
      ref.follow()
      this.#held.set(snapshot.instanceId, ref)
    } else ref.update(snapshot)
    return ref
  }

  close(): Promise<void> {
    return this.#line.close()
  }
}

class ClientPeer extends PeerHandle implements LocalPeer {
  async status(o: Cancel = {}): Promise<PeerStatus> {
    return (await this.via.ask({ type: 'local.status' }, o)) as PeerStatus
  }

  async ping(on: string, o: Cancel = {}): Promise<PingAnswer> {
    return (await this.via.ask({ type: 'local.ping', on }, o)) as PingAnswer
  }

  async actor(name: string, o: { on?: string } & Cancel = {}): Promise<NamedActor> {
    const { on, signal } = o
    if (!isJobName(name)) throw new NameNotFoundError(name, on ?? this.name)
    const event = { type: 'local.whereis' as const, name, ...(on !== undefined && { on }) }
    const { holder } = (await this.via.ask(event, { signal })) as Whereis
    if (!holder) throw new NameNotFoundError(name, on ?? this.name)
    const place = placeOf(holder)
    return new NamedActorHandle(name, holder, (asked, options) => this.via.actors.ask(place, asked, options))
  }

  async shutdown(o: { drain?: boolean; force?: boolean } & Cancel = {}): Promise<void> {
    const { signal, ...rest } = o
    await this.via.ask({ type: 'local.shutdown', ...rest }, { signal })
  }
}

// This machine's peer from outside: the daemon that `errand up` started, over its socket. Loads neither libp2p nor xstate.
import type { Cancel, PeerId } from '@errand/transport'
import { socket, socketPath } from '@errand/transport/socket'
import { PeerUnreachableError } from './errors.ts'
import type { Link } from './link.ts'
import { openLink } from './link-handshake.ts'
import { defaultHome } from './home.ts'
import { LinkSessionRef } from './link-session.ts'
import { PeerHandle, type PeerRef } from './peer-handle.ts'
import type { SessionRef } from './session-ref.ts'
import type { Peer, SessionSnapshot } from './surface.ts'
import { LOCAL_BEAT, protocols, type PeerEvent } from './wire.ts'

export { className } from '@errand/transport'
export { socketPath as socketOf } from '@errand/transport/socket'
export { isFinished } from './child-jobs.ts'
export { jsonError, jsonValue } from './json-value.ts'
export { unmarked } from './launch.ts'
export { milliseconds } from './duration.ts'
export { defaultHome } from './home.ts'
export * from './errors.ts'
export { defineJob, type Produced, type Producing } from './job-definition.ts'
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
  readonly peers: number
  /** Started by the first command that needed it: it leaves when nobody does any more. */
  readonly onDemand: boolean
}

/** This machine's daemon: a Peer whose job table is everybody's who may open its socket. */
export interface LocalPeer extends Peer {
  status(o?: Cancel): Promise<PeerStatus>
  /** Ends the daemon. @throws JobNotFinishedError while jobs run, unless `drain` (waits for them) or `force` */
  shutdown(o?: { drain?: boolean; force?: boolean } & Cancel): Promise<void>
}

/**
 * Connects to this machine's daemon. Closing the result lets go of it; its jobs and sessions go on.
 * @throws PeerUnreachableError when none is running
 */
export async function connectLocal(o: { home?: string } & Cancel = {}): Promise<LocalPeer> {
  const home = o.home ?? defaultHome()
  const path = socketPath(home)
  const transport = socket({ path })
  await transport.start({
    admits: () => true,
    protocols: protocols(LOCAL_BEAT),
    accept: (channel) => channel.abort(),
  })
  let link: Link
  try {
    const self = { client: crypto.randomUUID(), name: 'client' }
    link = await openLink({ transport, peer: 'local', addresses: [path], self, signal: o.signal })
  } catch (error) {
    await transport.close()
    o.signal?.throwIfAborted()
    throw new PeerUnreachableError(`no errand is up in ${home}`, { cause: error, hint: 'start it with `errand up`' })
  }
  try {
    const status = (await link.ask({}, { type: 'local.status' }, { signal: o.signal })) as PeerStatus & {
      local: SessionSnapshot
    }
    return new ClientPeer(new ClientRef(link, status, () => transport.close()))
  } catch (error) {
    await link.close()
    await transport.close()
    throw error
  }
}

class ClientRef implements PeerRef {
  readonly id: PeerId
  readonly name: string
  readonly addresses: readonly string[]
  readonly local: SessionRef
  readonly #link: Link
  readonly #release: () => Promise<void>
  readonly #held = new Map<string, LinkSessionRef>()
  #closing: Promise<void> | undefined

  constructor(link: Link, status: PeerStatus & { local: SessionSnapshot }, release: () => Promise<void>) {
    this.id = status.id
    this.name = status.name
    this.addresses = status.addresses
    this.local = new LinkSessionRef(link, status.local)
    this.#link = link
    this.#release = release
  }

  ask(event: PeerEvent, options: Cancel = {}): Promise<unknown> {
    return this.#link.ask({}, event, { signal: options.signal })
  }

  held(snapshot: SessionSnapshot): SessionRef {
    let ref = this.#held.get(snapshot.instanceId)
    if (!ref) {
      ref = new LinkSessionRef(this.#link, snapshot, this.local)
      ref.follow()
      this.#held.set(snapshot.instanceId, ref)
    } else ref.update(snapshot)
    return ref
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#link.close().then(this.#release))
  }
}

class ClientPeer extends PeerHandle implements LocalPeer {
  async status(o: Cancel = {}): Promise<PeerStatus> {
    return (await this.ref.ask({ type: 'local.status' }, o)) as PeerStatus
  }

  async shutdown(o: { drain?: boolean; force?: boolean } & Cancel = {}): Promise<void> {
    const { signal, ...rest } = o
    await this.ref.ask({ type: 'local.shutdown', ...rest }, { signal })
  }
}

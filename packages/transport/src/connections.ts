// The connections of a libp2p node: which of several to one peer is used, and when one that nobody uses is closed.

import type { Connection, Libp2p, PeerId as NodeId } from '@libp2p/interface'
import type { PeerId } from './transport.ts'

/** How long a second connection to a peer may carry nothing until it is closed, in ms. */
const DUPLICATE_IDLE = 1_000

export interface ConnectionsOptions {
  readonly node: Libp2p
  readonly id: PeerId
  /** Names of the protocols whose streams are channels; others (identify) do not keep a connection. */
  readonly protocols: ReadonlySet<string>
  /** How long a connection may carry no channel until it is closed, in ms. */
  readonly idle: number
  /** A peer is connected: by us or by itself. */
  onOpen(connection: Connection): void
}

/**
 * Keeps one connection to each peer, and none that carries nothing.
 *
 * Peers that dial each other at the same moment get two. Both mean to keep the one that the smaller id has dialled; the
 * smaller id closes the other one as soon as both are there, before anything was opened on it, where it can. A channel
 * that was opened on the other one already keeps it until that channel ends.
 */
export class Connections {
  readonly #options: ConnectionsOptions
  readonly #emptySince = new WeakMap<Connection, number>()
  /** In which order they came: libp2p notes the time of day, and a clock may be set. */
  readonly #opened = new WeakMap<Connection, number>()
  #count = 0
  readonly #timer: NodeJS.Timeout

  constructor(options: ConnectionsOptions) {
    this.#options = options
    options.node.addEventListener('connection:open', this.#onOpen)
    const period = Math.max(20, Math.min(options.idle, DUPLICATE_IDLE) / 2)
    this.#timer = setInterval(() => this.#sweep(), period).unref()
  }

  /** The connection on which to open the next channel, apart from those that are known to be `over`. */
  to(peer: NodeId, over: ReadonlySet<Connection>): Connection | undefined {
    const open = this.#open(peer).filter((one) => !over.has(one))
    // The newest: a peer that dials again has lost the one before, even if we have not noticed yet.
    return open.findLast((one) => this.#isPreferred(one)) ?? open.at(-1)
  }

  /**
   * Drops a connection on which the peer has fallen silent, and older ones: a dial would find them open, and use them. A
   * newer one is how the peer has come back.
   */
  forsake(silent: Connection, reason: Error): void {
    const since = this.#opened.get(silent) ?? 0
    for (const one of this.#options.node.getConnections(silent.remotePeer)) {
      if ((this.#opened.get(one) ?? Infinity) <= since) one.abort(reason)
    }
    silent.abort(reason)
  }

  /** Closes every connection with a peer, in order until the signal aborts. */
  async hangUp(peer: NodeId, signal: AbortSignal): Promise<void> {
    await Promise.all(this.#options.node.getConnections(peer).map((one) => close(one, signal)))
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#options.node.removeEventListener('connection:open', this.#onOpen)
  }

  readonly #onOpen = (event: CustomEvent<Connection>): void => {
    const connection = event.detail
    this.#opened.set(connection, ++this.#count)
    const open = this.#open(connection.remotePeer)
    if (this.#options.id < connection.remotePeer.toString() && open.some((one) => this.#isPreferred(one))) {
      for (const one of open) if (!this.#isPreferred(one) && !this.#carries(one, false)) void close(one)
    }
    this.#options.onOpen(connection)
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#options.node.getConnections()) {
      if (connection.status !== 'open') continue
      if (this.#carries(connection, true)) {
        this.#emptySince.delete(connection)
        continue
      }
      const since = this.#emptySince.get(connection) ?? now
      this.#emptySince.set(connection, since)
      const preferred = this.to(connection.remotePeer, new Set()) === connection
      if (now - since >= (preferred ? this.#options.idle : Math.min(DUPLICATE_IDLE, this.#options.idle)))
        void close(connection)
    }
  }

  /** `begun`: also streams that have not yet said what they are for. */
  #carries(connection: Connection, begun: boolean): boolean {
    return connection.streams.some(({ protocol }) => (protocol ? this.#options.protocols.has(protocol) : begun))
  }

  #open(peer: NodeId): Connection[] {
    return this.#options.node.getConnections(peer).filter(({ status }) => status === 'open')
  }

  #isPreferred(connection: Connection): boolean {
    const ours = this.#options.id < connection.remotePeer.toString()
    return connection.direction === (ours ? 'outbound' : 'inbound')
  }
}

/** In order where the peer takes part; a peer that does not gets no second chance. Never rejects. */
async function close(connection: Connection, signal = AbortSignal.timeout(1_000)): Promise<void> {
  await connection.close({ signal }).catch((error: Error) => connection.abort(error))
}

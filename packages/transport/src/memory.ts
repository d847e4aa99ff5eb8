// The carrier inside one process, for tests: values are encoded, framed, bounded and decoded as on any other, over a
// network that a test delays, cuts, loses and freezes (memory-network.ts).

import { createHash } from 'node:crypto'
import { AddressInUseError, ChannelClosedError, DeniedError, PeerUnreachableError } from './errors.ts'
import type { MemoryNetwork, Network, Occupant } from './memory-network.ts'
import { Switchboard } from './switchboard.ts'
import type { Cancel, Channel, OpenOptions, PeerId, Transport, TransportHost } from './transport.ts'

export { type Clock, type Timer } from './clock.ts'
export { type MemoryNetwork, type MemoryNetworkOptions, type Names, createMemoryNetwork } from './memory-network.ts'

/** Where on which memory network. */
export interface MemoryOptions {
  readonly network: MemoryNetwork
  /** Our id and our address; one transport at a time may listen under it. */
  readonly name: string
  /** It listens nowhere: others reach it only while a channel that it opened to them is open. Default false. */
  readonly dialOnly?: boolean | undefined
}

/**
 * A peer's place on a memory network, under `name`, which is its id and its address.
 * @example
 * const network = createMemoryNetwork({ seed: 1, latency: [5, 50] })
 * await using bob = memory({ network, name: 'bob' })
 * network.cut('bob', 'alice')
 */
export function memory({ network, name, dialOnly = false }: MemoryOptions): Transport {
  return new MemoryTransport(network as Network, name, dialOnly ? 'dials' : 'listens')
}

/** `guest`: it only dials, and its name is not its own: others may bear it at the same time, as one key may have copies. */
type Place = 'listens' | 'dials' | 'guest'

class MemoryTransport implements Transport {
  readonly carrier = 'memory'
  readonly id: PeerId
  readonly #network: Network
  readonly #as: Place
  #place: Occupant | undefined
  #switchboard: Switchboard | undefined
  #closing: Promise<void> | undefined

  constructor(network: Network, name: string, as: Place) {
    this.#network = network
    this.#as = as
    this.id = name
  }

  get addresses(): readonly string[] {
    if (this.#as !== 'listens') return []
    return this.#place !== undefined && this.#network.occupantOf(this.id) === this.#place ? [this.id] : []
  }

  // oxlint-disable-next-line typescript/require-await -- a rejection, not a throw
  async start(host: TransportHost, options: Cancel = {}): Promise<void> {
    options.signal?.throwIfAborted()
    if (this.#place !== undefined || this.#closing) throw new ChannelClosedError('a transport is started once')
    const switchboard = new Switchboard(host, this.#network.clockOf(this.id))
    const place: Occupant = {
      dialOnly: this.#as !== 'listens',
      admits: (peer) => host.admits(peer),
      answer: (duplex, peer) => {
        switchboard.answer(duplex, peer)
        host.connected?.(peer)
      },
      killed: () => void this.close(),
    }
    if (this.#as !== 'guest' && !this.#network.occupy(this.id, place)) {
      throw new AddressInUseError(`${this.id} is taken on this network`)
    }
    this.#place = place
    this.#switchboard = switchboard
  }

  async open(peer: PeerId, protocol: string, options: OpenOptions = {}): Promise<Channel> {
    options.signal?.throwIfAborted()
    const switchboard = this.#switchboard
    if (switchboard === undefined) throw new ChannelClosedError('the transport is not started')
    return switchboard.attempt(() => this.#open(switchboard, peer, protocol, options), options)
  }

  // oxlint-disable-next-line typescript/require-await -- a rejection, not a throw
  async #open(switchboard: Switchboard, peer: PeerId, protocol: string, options: OpenOptions): Promise<Channel> {
    const known = switchboard.check(peer, protocol)
    const there = this.#network.occupantOf(peer)
    if (there === undefined || this.#network.isCut(this.id, peer)) {
      throw new PeerUnreachableError(`${peer} does not answer on the memory network of seed ${this.#network.seed}`)
    }
    if (there.dialOnly && !this.#network.isConnected(peer, this.id)) {
      throw new PeerUnreachableError(`${peer} listens nowhere, and is not connected with us`)
    }
    // Who stands still is asked when it moves again.
    if (!this.#network.isFrozen(peer) && !there.admits(this.id)) {
      throw new DeniedError(`${peer} does not admit ${this.id}`)
    }
    return switchboard.open(this.#network.connect(this.id, peer), peer, known, options)
  }

  async disconnect(peer: PeerId): Promise<void> {
    await this.#switchboard?.end(peer, new ChannelClosedError(`${this.id} has hung up`))
  }

  sibling(seed: Uint8Array): Promise<Transport> {
    const name = `key-${createHash('sha256').update(seed).digest('hex').slice(0, 32)}`
    return Promise.resolve(new MemoryTransport(this.#network, name, 'guest'))
  }

  /** There are no keys in one process: a name that signs is taken at its word. */
  sign(bytes: Uint8Array): Promise<Uint8Array> {
    return Promise.resolve(signatureOf(this.id, bytes))
  }

  verify(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return Promise.resolve(Buffer.compare(signatureOf(peer, bytes), signature) === 0)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      // First of all: nobody comes in any more.
      if (this.#place !== undefined) this.#network.leave(this.id, this.#place)
      await this.#switchboard?.close()
    })()
    return this.#closing
  }
}

function signatureOf(name: PeerId, bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(name).update('\0').update(bytes).digest()
}

// Where peers can be reached: what worked, what we were told, what was overheard.

import type { PeerId } from './transport.ts'

/** Peers remembered; beyond it the one that was news longest ago is forgotten. */
const MAX_PEERS = 1000
/** Addresses kept for one peer of each sort, the newest first. */
const MAX_ADDRESSES = 16

interface Known {
  /** Dialled with success, or named by our own options: nobody else's word. */
  readonly trusted: Set<string>
  /** From the network: what the peer says of itself, or what somebody on it says of the peer. */
  readonly heard: Set<string>
}

/** The addresses of peers, bounded. An address is a place to try, never a proof: who answers there proves who it is. */
export class KnownAddresses {
  readonly #peers = new Map<PeerId, Known>()
  readonly #waiting = new Map<PeerId, Set<() => void>>()

  /** Puts an address that worked in front of all others. */
  worked(peer: PeerId, address: string): void {
    const { trusted } = this.#known(peer)
    const others = [...trusted].filter((one) => one !== address)
    trusted.clear()
    for (const one of [address, ...others].slice(0, MAX_ADDRESSES)) trusted.add(one)
  }

  /** Replaces what was heard before: a peer that has moved is not to be looked for where it was. */
  heard(peer: PeerId, addresses: readonly string[]): void {
    if (addresses.length === 0) return
    const { heard } = this.#known(peer)
    const before = [...heard].join()
    heard.clear()
    for (const address of addresses.slice(0, MAX_ADDRESSES)) heard.add(address)
    if ([...heard].join() !== before) this.wake(peer)
  }

  /** What to dial first, and what to try when all of that has failed. `given`: what the caller knows now. */
  of(peer: PeerId, given: readonly string[]): { trusted: readonly string[]; heard: readonly string[] } {
    const known = this.#peers.get(peer)
    const trusted = new Set([...(known?.trusted ?? []), ...given])
    const heard = [...(known?.heard ?? [])].filter((address) => !trusted.has(address))
    return { trusted: [...trusted], heard }
  }

  /** Calls back whenever there is a new chance to reach the peer; the function given back ends that. */
  onNews(peer: PeerId, act: () => void): () => void {
    const waiting = this.#waiting.get(peer) ?? new Set()
    this.#waiting.set(peer, waiting.add(act))
    return () => {
      waiting.delete(act)
      if (waiting.size === 0 && this.#waiting.get(peer) === waiting) this.#waiting.delete(peer)
    }
  }

  /** There is news of this peer: an address, or the peer itself. */
  wake(peer: PeerId): void {
    for (const act of [...(this.#waiting.get(peer) ?? [])]) act()
  }

  #known(peer: PeerId): Known {
    const known = this.#peers.get(peer) ?? { trusted: new Set(), heard: new Set() }
    // Newest last: the first of the map is the one to forget.
    this.#peers.delete(peer)
    this.#peers.set(peer, known)
    if (this.#peers.size > MAX_PEERS) this.#peers.delete(this.#peers.keys().next().value!)
    return known
  }
}

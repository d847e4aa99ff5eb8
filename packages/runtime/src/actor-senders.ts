// Who has sent to an actor, and how far: what is asked again over another link is not taken again.

/** Senders whose last number is known; of one that was silent for longest it is forgotten. */
export const SENDERS_MOST = 1024
/** Of one peer: whoever may send to an actor is not to make it forget the others. */
export const SENDERS_OF_PEER = 256

/** A sender's name holds whose it is: what a peer calls one of its processes counts only together with its key. */
export function senderOf(peer: string, from: string): string {
  return `${peer}\n${from}`
}

function peerOf(sender: string): string {
  return sender.slice(0, sender.indexOf('\n') + 1)
}

export class Senders {
  /** The one that was silent for longest comes first. */
  readonly #last: Map<string, number>

  constructor(last: Iterable<readonly [from: string, seq: number]> = []) {
    this.#last = new Map(last)
  }

  isNew(from: string, seq: number): boolean {
    return seq > (this.#last.get(from) ?? 0)
  }

  took(from: string, seq: number): void {
    const known = this.#last.get(from)
    // Alone it is the newest, too.
    if (this.#last.size > 1) this.#last.delete(from)
    // One that was given up may come late.
    this.#last.set(from, Math.max(seq, known ?? 0))
    if (known !== undefined) return
    const peer = peerOf(from)
    let [oldest] = this.#last.keys()
    let ofPeer = 0
    let itsOldest: string | undefined
    if (this.#last.size > SENDERS_OF_PEER) {
      for (const sender of this.#last.keys()) {
        if (peerOf(sender) !== peer) continue
        itsOldest ??= sender
        ofPeer++
      }
    }
    if (ofPeer > SENDERS_OF_PEER) oldest = itsOldest
    else if (this.#last.size <= SENDERS_MOST) return
    if (oldest !== undefined) this.#last.delete(oldest)
  }

  all(): (readonly [from: string, seq: number])[] {
    return [...this.#last]
  }
}

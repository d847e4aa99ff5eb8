// The actors behind a group's name on all peers that there is a link to, as one set: what each of them tells of its own,
// put together here. A peer that is lost takes its members out, and brings them back when it is back; what is known of them
// meanwhile is kept, so that only the difference travels then.
//
// Kept for as long as somebody asks: for programs beside this peer as for those in it, who fold the answers
// (group-stream.ts).
import { setTimeout as delay } from 'node:timers/promises'
import { backOff, type PeerId } from '@errand/transport'
import { MEMBERS_MOST, throwUnlessName, type GroupAnswer } from './actor-names.ts'
import type { ActorAddress } from './actor-surface.ts'
import { flag, list, maybe, shape, type Check } from './checks.ts'
import { asError, LimitError, PeerClosedError, ProtocolError, UsageError } from './errors.ts'
import { addressKey, type GroupChanges, type GroupPeer } from './group-stream.ts'
import type { Link } from './link.ts'
import type { Place } from './network.ts'
import { News } from './news.ts'
import { untilAborted } from './output-log.ts'
import { CHANGES_MOST, SetFeed } from './set-feed.ts'
import { CURSOR_MOST, GROUP_ON_MOST, isActorPath, isEpoch, isMachineName } from './wire.ts'

/** Groups followed at once, each with those that it dials counted as one of its own. */
export const UNIONS_MOST = 1024
/** How long one is followed when nobody asks any more, in milliseconds. */
export const UNION_KEPT_MS = 10_000

/** What following needs of the peer. */
export interface UnionsHome {
  self(): PeerId
  readonly name: string
  /** Of its own actors. */
  own(group: string, cursor: string | undefined, signal: AbortSignal): Promise<GroupAnswer>
  /** Of the address book, those that there is a link to now. */
  connected(): readonly PeerId[]
  /** What it is called; undefined for one that is not in the book. */
  nameOf(peer: PeerId): string | undefined
  linkWith(peer: PeerId): Link | undefined
  /** Told of each link that comes to be, until the returned function is called. */
  follow(tell: (link: Link) => void): () => void
  /** @throws PeerNotFoundError */
  place(to: string): Place
  linkTo(place: Place, signal: AbortSignal): Promise<Link>
}

export class GroupUnions {
  readonly #home: UnionsHome
  readonly #unions = new Map<string, GroupUnion>()
  #ended: Error | undefined

  constructor(home: UnionsHome) {
    this.#home = home
  }

  get size(): number {
    return this.#unions.size
  }

  /**
   * What has changed behind `cursor`; without one the whole, once each peer has been asked.
   * @throws PeerNotFoundError, UsageError, LimitError, PeerClosedError
   */
  async watch(
    { group, on = [], cursor }: { group: string; on?: readonly string[] | undefined; cursor?: string | undefined },
    signal?: AbortSignal,
  ): Promise<GroupChanges> {
    throwUnlessName(group)
    if (on.length > GROUP_ON_MOST)
      throw new UsageError(`a group is asked of at most ${GROUP_ON_MOST} peers that are dialled`)
    if (this.#ended) throw this.#ended
    const key = JSON.stringify([group, ...new Set(on)])
    let union = this.#unions.get(key)
    if (!union) {
      if (this.#unions.size >= UNIONS_MOST) throw new LimitError(`more than ${UNIONS_MOST} groups are followed`)
      union = new GroupUnion(
        this.#home,
        group,
        on.map((to) => this.#far(to)),
        () => this.#unions.delete(key),
      )
      this.#unions.set(key, union)
    }
    return union.since(cursor, signal)
  }

  #far(to: string): Place {
    const place = this.#home.place(to)
    if (place.peer !== 'local') return place
    throw new UsageError(`'${to}' is this machine's own peer: ask that one for its groups`, { hint: 'connectLocal()' })
  }

  /** Idempotent. */
  end(reason: Error): void {
    this.#ended ??= reason
    for (const union of [...this.#unions.values()]) union.end(reason)
  }
}

/** What one peer has told. */
interface Part {
  readonly id: PeerId
  readonly name: string
  /** It is dialled. */
  readonly place: Place | undefined
  /** By path and epoch; kept while it cannot be reached. */
  members: Map<string, ActorAddress>
  /** Those that it tells anew, until it has told them all: till then the others are shown. */
  coming: Map<string, ActorAddress> | undefined
  cursor: string | undefined
  /** Its members are shown. */
  reached: boolean
  reason: Error | undefined
  /** It has been asked once, whatever came of it. */
  readonly asked: PromiseWithResolvers<void>
}

class GroupUnion {
  readonly #home: UnionsHome
  readonly #group: string
  readonly #onEnd: () => void
  readonly #parts = new Map<PeerId, Part>()
  readonly #members = new SetFeed<ActorAddress>(addressKey)
  readonly #news = new News()
  readonly #over = new AbortController()
  readonly #begun: Promise<unknown>
  readonly #name: string = crypto.randomUUID()
  /** Counts what has changed of the peers. */
  #peers = 1
  /** Who waits for a link to a peer. */
  readonly #links = new Map<PeerId, () => void>()
  readonly #unfollow: () => void
  #asking = 0
  #timer: NodeJS.Timeout | undefined

  constructor(home: UnionsHome, group: string, on: readonly Place[], onEnd: () => void) {
    this.#home = home
    this.#group = group
    this.#onEnd = onEnd
    this.#unfollow = home.follow((link) => this.#onLink(link))
    this.#add(home.self(), home.name, undefined)
    for (const place of on) this.#add(place.peer, home.nameOf(place.peer) ?? place.location, place)
    for (const peer of home.connected()) this.#add(peer, home.nameOf(peer) ?? peer, undefined)
    this.#begun = Promise.all([...this.#parts.values()].map(({ asked }) => asked.promise))
  }

  async since(cursor: string | undefined, signal: AbortSignal | undefined): Promise<GroupChanges> {
    clearTimeout(this.#timer)
    this.#asking++
    try {
      // The first answer is no half of one.
      await untilAborted(this.#begun, signal)
      return await this.#news.poll('', () => this.#changes(cursor), signal)
    } finally {
      if (--this.#asking === 0 && !this.#over.signal.aborted) {
        this.#timer = setTimeout(() => this.end(new PeerClosedError('nobody asks any more')), UNION_KEPT_MS).unref()
      }
    }
  }

  end(reason: Error): void {
    if (this.#over.signal.aborted) return
    this.#over.abort(reason)
    clearTimeout(this.#timer)
    this.#unfollow()
    this.#news.end(reason)
    for (const { asked } of this.#parts.values()) asked.resolve()
    this.#onEnd()
  }

  #changes(cursor: string | undefined): GroupChanges | undefined {
    const [name, peers, ...members] = cursor?.split(' ') ?? []
    const changes = this.#members.since(name === this.#name ? members.join(' ') : undefined)
    const news = name !== this.#name || Number(peers) !== this.#peers
    if (!changes && !news) return undefined
    return {
      ...(changes ?? { joined: [], left: [] }),
      cursor: `${this.#name} ${this.#peers} ${changes?.cursor ?? members.join(' ')}`,
      ...(news && { peers: [...this.#parts.values()].map(shownPart) }),
    }
  }

  // ── whom it asks ────────────────────────────────────────────────────────────────────────────────────────────────────

  #add(id: PeerId, name: string, place: Place | undefined): void {
    if (this.#parts.has(id)) return
    const part: Part = {
      id,
      name,
      place,
      members: new Map(),
      coming: undefined,
      cursor: undefined,
      reached: false,
      reason: undefined,
      asked: Promise.withResolvers(),
    }
    this.#parts.set(id, part)
    this.#peersChanged()
    void (id === this.#home.self() ? this.#followOwn(part) : this.#followFar(part))
  }

  #onLink({ peer }: Link): void {
    if (this.#parts.has(peer)) return this.#links.get(peer)?.()
    const name = this.#home.nameOf(peer)
    if (name !== undefined) this.#add(peer, name, undefined)
  }

  async #followOwn(part: Part): Promise<void> {
    const { signal } = this.#over
    try {
      for (;;) this.#take(part, await this.#home.own(this.#group, part.cursor, signal))
    } catch (error) {
      // It closes, and says so to whoever asks.
      this.end(asError(error))
    }
  }

  /** Never rejects. */
  async #followFar(part: Part): Promise<void> {
    const { signal } = this.#over
    const event = { type: 'groups.watch' as const, group: this.#group }
    let pauses = backOff()
    while (!signal.aborted) {
      const link = this.#home.linkWith(part.id) ?? (await this.#nextLink(part))
      if (!link) continue
      try {
        const { cursor, reached } = part
        // One that was lost is to say that it is as it was, or how it is: nothing may have happened there meanwhile.
        const asked = { ...event, ...(cursor !== undefined && { cursor, ...(!reached && { now: true }) }) }
        this.#take(part, checkedAnswer(part, await link.ask({}, asked, { signal })))
        pauses = backOff()
      } catch (error) {
        if (signal.aborted) return
        // Over another link that is there already it goes on where it was.
        if (!link.open && this.#home.linkWith(part.id)) continue
        this.#lose(part, asError(error))
        if (!link.open) continue
        // It does not let us look, or knows no groups: it may do so later, and what it told before is nothing to go by.
        Object.assign(part, { members: new Map(), coming: undefined, cursor: undefined })
        await this.#rest(pauses.next().value, link.closed)
      }
    }
  }

  /** The next link to it; it may be gone again. Undefined: none came of it, or all is over. */
  async #nextLink(part: Part): Promise<Link | undefined> {
    const { signal } = this.#over
    const { promise: come, resolve } = Promise.withResolvers<void>()
    this.#links.set(part.id, resolve)
    try {
      if (!part.place) {
        await untilAborted(come, signal)
        return undefined
      }
      for (const pause of backOff()) {
        try {
          return await this.#home.linkTo(part.place, signal)
        } catch (error) {
          if (signal.aborted) return undefined
          this.#lose(part, asError(error))
        }
        if ((await this.#rest(pause, come)) || signal.aborted) return undefined
      }
      return undefined
    } finally {
      this.#links.delete(part.id)
    }
  }

  /** So many milliseconds, or until that has happened: true. */
  async #rest(ms: number, sooner: Promise<unknown>): Promise<boolean> {
    const over = new AbortController()
    const signal = AbortSignal.any([this.#over.signal, over.signal])
    const time = delay(ms, false, { signal, ref: false }).catch(() => false)
    try {
      return await Promise.race([time, sooner.then(() => true)])
    } finally {
      over.abort()
    }
  }

  // ── what they tell ──────────────────────────────────────────────────────────────────────────────────────────────────

  #take(part: Part, { cursor, begins, joined, left, more }: GroupAnswer): void {
    if (begins) part.coming = new Map()
    const members = part.coming ?? part.members
    const shown = part.reached && !part.coming
    for (const [path, epoch] of left) {
      members.delete(`${path} ${epoch}`)
      if (shown) this.#members.delete(addressKey({ peer: part.id, path, epoch }))
    }
    for (const [path, epoch, machine] of joined) {
      const member = { peer: part.id, path, epoch, ...(machine !== undefined && { machine }) }
      members.set(`${path} ${epoch}`, member)
      if (shown) this.#members.add(member)
    }
    part.cursor = cursor
    if (!more && !shown) this.#show(part)
    this.#news.tell('')
  }

  /** All that it has told, and nothing else of it. */
  #show(part: Part): void {
    const { members, coming = members } = part
    for (const [key, member] of members) if (!coming.has(key)) this.#members.delete(addressKey(member))
    for (const member of coming.values()) this.#members.add(member)
    part.members = coming
    part.coming = undefined
    if (!part.reached) {
      part.reached = true
      part.reason = undefined
      this.#peers++
    }
    part.asked.resolve()
  }

  /** It cannot be asked now. Its members are kept for when it can. */
  #lose(part: Part, reason: Error): void {
    for (const member of part.members.values()) this.#members.delete(addressKey(member))
    const news = part.reached || part.reason?.message !== reason.message
    part.reached = false
    part.reason = reason
    if (news) this.#peersChanged()
    part.asked.resolve()
  }

  #peersChanged(): void {
    this.#peers++
    this.#news.tell('')
  }
}

function shownPart({ id, name, reached, reason }: Part): GroupPeer {
  return { id, name, reached, ...(!reached && reason && { reason }) }
}

const told: Check = (value) =>
  Array.isArray(value) && value.length <= 3 && isActorPath(value[0]) && isEpoch(value[1]) && isMachineName(value[2])
const answer = shape({
  cursor: (value) => typeof value === 'string' && value.length <= CURSOR_MOST,
  begins: maybe(flag),
  joined: list(told, CHANGES_MOST),
  left: list(told, CHANGES_MOST),
  more: maybe(flag),
})

/** @throws ProtocolError */
function checkedAnswer(part: Part, value: unknown): GroupAnswer {
  if (!answer(value)) throw new ProtocolError(`${part.name} answers with what is no group`)
  const { begins, joined } = value as GroupAnswer
  const { size } = part.coming ?? part.members
  // Told in parts it may be more for a while: some have left since, which comes in a later one.
  if ((begins ? 0 : size) + joined.length > 2 * MEMBERS_MOST)
    throw new ProtocolError(`${part.name} tells of more members than a group has`)
  return value as GroupAnswer
}

// Who is called what on this peer: names, each of one actor on any peer, and groups of actors that are here. Both are told
// to whoever asks; nobody keeps the state of anybody who does. An entry goes when its actor ends.
//
// All of it happens on the peer's own thread, in one step each: what was looked at is still so when it is written down.
import type { ActorAddress } from './actor-surface.ts'
import { ActorGoneError, LimitError, NameTakenError, ProtocolError, UsageError } from './errors.ts'
import { News } from './news.ts'
import { SetFeed, type SetChanges } from './set-feed.ts'
import { CURSOR_MOST, isActorAddress, isJobName } from './wire.ts'

/** Names on one peer. */
export const NAMES_MOST = 65_536
/** Groups on one peer that somebody is in. */
export const GROUPS_MOST = 65_536
/** Actors of one peer in one group. */
export const MEMBERS_MOST = 65_536
/** The same, in all its groups together. */
export const MEMBERSHIPS_MOST = 262_144

/** An actor of this peer. */
export type Member = Pick<ActorAddress, 'path' | 'epoch' | 'machine'>
/** As it travels: path, epoch, machine. Whoever tells it is the peer. */
export type ToldMember = readonly [path: string, epoch: number, machine?: string]

export interface NameAnswer {
  /** Of this holder: who asks with it is answered when that is another one. */
  readonly cursor: string
  readonly holder?: ActorAddress | undefined
}
export type GroupAnswer = SetChanges<ToldMember>

/** Tells, once, that an actor elsewhere is down, until the returned function is called. */
export type Far = (address: ActorAddress, down: () => void) => () => void

export interface NamesHome {
  /** What this peer is called. It may not have a key yet, and later has one. */
  self(): string
  /** Whether this actor of ours is there: then it will be said when it has ended. */
  alive(member: Member): boolean
  readonly far: Far
}

interface Holder {
  /** What it is known by, so that nobody needs to remember who has been told of it. */
  readonly cursor: string
  readonly member: Member
  /** Undefined: here. */
  readonly peer: string | undefined
  readonly stop: (() => void) | undefined
}

/** What an actor of ours is called. */
interface Called {
  readonly names: Set<string>
  readonly groups: Map<string, Member>
}

/** The cursor of a name that nobody has. */
const NOBODY = '0'

export class ActorNames {
  readonly #home: NamesHome
  readonly #names = new Map<string, Holder>()
  readonly #groups = new Map<string, SetFeed<Member>>()
  /** By path. */
  readonly #called = new Map<string, Called>()
  readonly #news = new News()
  #memberships = 0

  constructor(home: NamesHome) {
    this.#home = home
  }

  /** Names that somebody has. */
  get size(): number {
    return this.#names.size
  }
  get groups(): number {
    return this.#groups.size
  }
  get memberships(): number {
    return this.#memberships
  }
  /** Questions that wait for news. */
  get waiting(): number {
    return this.#news.waiting
  }

  /** Who has it, wherever that is. */
  holder(name: string): ActorAddress | undefined {
    const holder = this.#names.get(name)
    return holder && this.#address(holder)
  }

  /**
   * From now on that actor has the name. `replace`: also where another one has it.
   * @throws NameTakenError, ActorGoneError, LimitError, UsageError: then nothing has changed
   */
  register(name: string, address: ActorAddress, o: { replace?: boolean | undefined } = {}): void {
    throwUnlessName(name)
    if (!isActorAddress(address)) throw new UsageError(`'${name}' is to be the name of an actor, by its address`)
    const { peer, path, epoch, machine } = address
    const member: Member = { path, epoch, ...(machine !== undefined && { machine }) }
    const far = peer === this.#home.self() || peer === 'local' ? undefined : peer
    // Nobody would ever say that it has ended.
    if (far === undefined && !this.#home.alive(member))
      throw new ActorGoneError(`no actor ${path} in epoch ${epoch} is here`)
    this.#throwUnlessFree(name, far, member, o.replace === true)
    this.#give(name, far, member)
  }

  /** Nobody has it any more; false when nobody had. */
  unregister(name: string): boolean {
    const holder = this.#names.get(name)
    if (!holder) return false
    this.#take(name, holder)
    this.#news.tell(`name ${name}`)
    return true
  }

  /**
   * An actor of ours begins, with this name and in these groups, or with none of it.
   * @throws NameTakenError, LimitError, UsageError
   */
  began(member: Member, o: { register?: string | undefined; groups?: readonly string[] | undefined }): void {
    const { register } = o
    const groups = [...new Set(o.groups)]
    for (const name of register === undefined ? groups : [register, ...groups]) throwUnlessName(name)
    if (register !== undefined) this.#throwUnlessFree(register, undefined, member, false)
    this.#throwUnlessRoom(groups.filter((group) => !this.#groups.get(group)?.get(keyOf(member))))
    if (register !== undefined) this.#give(register, undefined, member)
    for (const group of groups) this.#join(group, member)
  }

  /** An actor of ours has ended: nothing is called by it any more. */
  ended(path: string): void {
    const called = this.#called.get(path)
    if (!called) return
    for (const name of called.names) this.unregister(name)
    for (const [group, member] of called.groups) this.#leave(group, member)
    this.#called.delete(path)
  }

  /** Who has it, as soon as that is another one than `cursor` says; without one at once. @throws UsageError, PeerClosedError */
  async watchName(name: string, cursor: string | undefined, signal?: AbortSignal): Promise<NameAnswer> {
    throwUnlessName(name)
    const look = (): NameAnswer | undefined => {
      const holder = this.#names.get(name)
      if ((holder?.cursor ?? NOBODY) === cursor) return undefined
      return holder ? { cursor: holder.cursor, holder: this.#address(holder) } : { cursor: NOBODY }
    }
    return this.#news.poll(`name ${name}`, look, signal)
  }

  /**
   * Who came and who left behind `cursor`, as soon as somebody has; without one, or `now`, at once.
   * @throws UsageError, PeerClosedError
   */
  async watchGroup(
    group: string,
    cursor: string | undefined,
    signal?: AbortSignal,
    now: boolean = false,
  ): Promise<GroupAnswer> {
    throwUnlessName(group)
    const look = (): GroupAnswer | undefined => {
      // Nobody is kept for a group that has none: the cursor of an empty set needs no memory.
      const changes = (this.#groups.get(group) ?? nobody).since(cursor)
      if (changes) return { ...changes, joined: changes.joined.map(told), left: changes.left.map(told) }
      return now && cursor !== undefined ? { cursor, joined: [], left: [] } : undefined
    }
    return this.#news.poll(`group ${group}`, look, signal)
  }

  /** Who asks is told why nothing comes any more. Idempotent. */
  end(reason: Error): void {
    for (const [name, holder] of this.#names) this.#take(name, holder)
    this.#groups.clear()
    this.#called.clear()
    this.#memberships = 0
    this.#news.end(reason)
  }

  // ── what must hold ──────────────────────────────────────────────────────────────────────────────────────────────────

  #throwUnlessFree(name: string, peer: string | undefined, member: Member, replace: boolean): void {
    const holder = this.#names.get(name)
    if (!holder && this.#names.size >= NAMES_MOST) throw new LimitError(`a peer has at most ${NAMES_MOST} names`)
    if (!holder || replace || holder.cursor === cursorOf(peer, member)) return
    throw new NameTakenError(name, this.#address(holder))
  }

  /** For one more in each of these. */
  #throwUnlessRoom(groups: readonly string[]): void {
    if (this.#memberships + groups.length > MEMBERSHIPS_MOST) {
      throw new LimitError(`the actors of a peer are in at most ${MEMBERSHIPS_MOST} groups together`)
    }
    let added = 0
    for (const group of groups) {
      const { size } = this.#groups.get(group) ?? { size: 0 }
      if (size === 0) added++
      if (size >= MEMBERS_MOST)
        throw new LimitError(`group '${group}' has ${MEMBERS_MOST} members here, and takes no more`)
    }
    if (this.#groups.size + added > GROUPS_MOST) throw new LimitError(`a peer has at most ${GROUPS_MOST} groups`)
  }

  // ── what is written down ────────────────────────────────────────────────────────────────────────────────────────────

  #address({ peer, member }: Holder): ActorAddress {
    return { peer: peer ?? this.#home.self(), ...member }
  }

  #give(name: string, peer: string | undefined, member: Member): void {
    const before = this.#names.get(name)
    const cursor = cursorOf(peer, member)
    if (before?.cursor === cursor) return
    if (before) this.#take(name, before)
    const down = (): void => {
      // It may be another's by now.
      if (this.#names.get(name)?.cursor === cursor) this.unregister(name)
    }
    const stop = peer === undefined ? undefined : this.#home.far({ peer, ...member }, down)
    this.#names.set(name, { cursor, member, peer, stop })
    if (peer === undefined) this.#call(member.path).names.add(name)
    this.#news.tell(`name ${name}`)
  }

  #take(name: string, { member, peer, stop }: Holder): void {
    this.#names.delete(name)
    stop?.()
    if (peer !== undefined) return
    this.#called.get(member.path)?.names.delete(name)
    this.#forgetUncalled(member.path)
  }

  #join(group: string, member: Member): void {
    let set = this.#groups.get(group)
    if (!set) this.#groups.set(group, (set = new SetFeed(keyOf)))
    if (!set.add(member)) return
    this.#memberships++
    this.#call(member.path).groups.set(group, member)
    this.#news.tell(`group ${group}`)
  }

  #leave(group: string, member: Member): void {
    const set = this.#groups.get(group)
    if (!set?.delete(keyOf(member))) return
    this.#memberships--
    if (set.size === 0) this.#groups.delete(group)
    this.#news.tell(`group ${group}`)
  }

  #call(path: string): Called {
    let called = this.#called.get(path)
    if (!called) this.#called.set(path, (called = { names: new Set(), groups: new Map() }))
    return called
  }

  #forgetUncalled(path: string): void {
    const called = this.#called.get(path)
    if (called?.names.size === 0 && called.groups.size === 0) this.#called.delete(path)
  }
}

const nobody = new SetFeed<Member>(keyOf)

function keyOf({ path, epoch }: Member): string {
  return `${path} ${epoch}`
}

function cursorOf(peer: string | undefined, member: Member): string {
  return `${keyOf(member)} ${peer ?? ''}`
}

function told({ path, epoch, machine }: Member): ToldMember {
  return machine === undefined ? [path, epoch] : [path, epoch, machine]
}

/** What another peer answers. @throws ProtocolError */
export function checkedName(where: string, value: unknown): NameAnswer {
  const { cursor, holder } = (value ?? {}) as Partial<NameAnswer>
  const fits =
    typeof cursor === 'string' && cursor.length <= CURSOR_MOST && (holder === undefined || isActorAddress(holder))
  if (!fits) throw new ProtocolError(`${where} answers with what is nobody's name`)
  return { cursor, ...(holder && { holder }) }
}

/** @throws UsageError */
export function throwUnlessName(name: string): void {
  if (isJobName(name)) return
  const shown = `'${String(name as unknown).slice(0, 150)}'`
  throw new UsageError(`${shown} is no name: letters, digits and _ . : / -, at most 128`)
}

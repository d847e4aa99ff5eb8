// The address book and the policy of one peer: who is called what, where they are, what they may do here.
// Names are set here, at pairing, by us; never by what a peer says of itself later. Kept in one file where there is a home.
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { PeerId } from '@errand/transport'
import { asError, PeerNotFoundError, UsageError } from './errors.ts'
import type { Grant, PeerInfo } from './surface.ts'
import { isJobName } from './wire.ts'

/** Beside these there are `run:job:NAME` and `spawn:NAME`. */
export const GRANTS: readonly Grant[] = [
  'connect',
  'run:script',
  'run:command',
  'jobs:read',
  'jobs:send',
  'jobs:answer',
  'jobs:stop',
  'admin',
]
/** What a ticket grants that names nothing else. */
export const DEFAULT_GRANTS: readonly Grant[] = ['connect', 'run:script', 'run:command']

export interface KnownPeer {
  readonly name: string
  readonly id: PeerId
  readonly addresses: readonly string[]
  readonly grants: readonly Grant[]
  readonly owner?: string | undefined
}

/** An invitation: the name of its ticket's key, and what it brings. */
export interface OpenInvitation {
  readonly key: PeerId
  readonly grants: readonly Grant[]
  readonly owner?: string | undefined
  readonly uses: number
  /** Milliseconds since 1970. */
  readonly expires: number
}

interface Written {
  version: 1
  peers: KnownPeer[]
  invitations: OpenInvitation[]
}

/** Where a home has its address book. */
export function bookFile(home: string): string {
  return join(home, 'peers.json')
}

/** Who stands in the book of a home, also while no daemon is up there. @throws UsageError when it cannot be read */
export async function knownPeers(home: string): Promise<readonly PeerInfo[]> {
  const book = await AddressBook.open(bookFile(home))
  return book.all().map((peer) => peerInfo(peer, false))
}

export class AddressBook {
  readonly #file: string | undefined
  readonly #peers = new Map<PeerId, KnownPeer>()
  readonly #invitations = new Map<PeerId, OpenInvitation>()
  /** Something is new in it. */
  onChange: (() => void) | undefined
  #writing: Promise<void> = Promise.resolve()

  private constructor(file: string | undefined) {
    this.#file = file
  }

  /** @throws UsageError when the file is there and cannot be read: a policy half read is none. */
  static async open(file: string | undefined): Promise<AddressBook> {
    const book = new AddressBook(file)
    if (file === undefined) return book
    let text: string
    try {
      text = await readFile(file, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return book
      throw new UsageError(`cannot read ${file}: ${asError(error).message}`, { cause: error })
    }
    try {
      const { peers, invitations } = JSON.parse(text) as Written
      for (const peer of peers) book.#peers.set(peer.id, peer)
      // An earlier version took any name. Those that are names keep them: none becomes another's by being made plain.
      for (const peer of peers) {
        if (!isPlainName(peer.name)) book.#peers.set(peer.id, { ...peer, name: book.#freeName(peer.name, peer.id) })
      }
      for (const invitation of invitations) book.#invitations.set(invitation.key, invitation)
    } catch (error) {
      throw new UsageError(`${file} is not an address book: ${asError(error).message}`, {
        cause: error,
        hint: 'move it away to start with an empty one',
      })
    }
    return book
  }

  get empty(): boolean {
    return this.#peers.size === 0 && this.#invitations.size === 0
  }

  get(id: PeerId): KnownPeer | undefined {
    return this.#peers.get(id)
  }

  all(): readonly KnownPeer[] {
    return [...this.#peers.values()]
  }

  /** Whether somebody may come here in that name: with `connect`, or all. */
  standsFor(owner: string): boolean {
    return this.all().some(
      (peer) => (peer.owner ?? peer.id) === owner && (peer.grants.includes('connect') || peer.grants.includes('admin')),
    )
  }

  /** By name (any case), peer id, or a prefix of at least eight characters of it. */
  find(which: string): KnownPeer | undefined {
    const exact = this.#peers.get(which)
    if (exact) return exact
    const named = this.all().filter(({ name }) => name.toLowerCase() === which.toLowerCase())
    if (named.length > 0) return named[0]
    const like = which.length >= 8 ? this.all().filter(({ id }) => id.startsWith(which)) : []
    return like.length === 1 ? like[0] : undefined
  }

  /** @throws PeerNotFoundError */
  named(which: string): KnownPeer {
    const found = this.find(which)
    if (!found) throw new PeerNotFoundError(which)
    return found
  }

  /** Adds a peer or changes what is given; a name that is taken by another gets a number behind it. */
  async put(change: Partial<KnownPeer> & { id: PeerId }): Promise<KnownPeer> {
    const before = this.#peers.get(change.id)
    const wanted = change.name ?? before?.name ?? change.id.slice(-8)
    const peer: KnownPeer = {
      addresses: [],
      grants: [],
      ...before,
      ...withoutUndefined(change),
      name: this.#freeName(wanted, change.id),
    }
    this.#peers.set(peer.id, peer)
    this.onChange?.()
    await this.#write()
    return peer
  }

  async remove(id: PeerId): Promise<void> {
    this.#peers.delete(id)
    this.onChange?.()
    await this.#write()
  }

  // ── invitations ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async invite(invitation: OpenInvitation): Promise<void> {
    for (const [key, { expires }] of this.#invitations) if (expires <= Date.now()) this.#invitations.delete(key)
    this.#invitations.set(invitation.key, invitation)
    await this.#write()
  }

  /** The invitation of a ticket's key, until it expires; used up, it lets nobody else in (`uses` is 0). */
  invitation(key: PeerId): OpenInvitation | undefined {
    const found = this.#invitations.get(key)
    return found && found.expires > Date.now() ? found : undefined
  }

  /** One use less. False: there was none left. On disk before the joiner is told. */
  async use(key: PeerId): Promise<boolean> {
    const found = this.invitation(key)
    if (!found || found.uses < 1) return false
    this.#invitations.set(key, { ...found, uses: found.uses - 1 })
    await this.#write()
    return true
  }

  /** What is wanted comes from the peer itself as a rule. */
  #freeName(asked: string, id: PeerId): string {
    const wanted = plainName(asked) || id.slice(-8)
    // A number or `3.1` would be taken for a session; `localhost` is this machine's daemon.
    const plain = /^[\d.]+$/.test(wanted) || wanted.toLowerCase() === 'localhost' ? `peer-${wanted}` : wanted
    let name = plain
    for (
      let number = 2;
      this.all().some((peer) => peer.id !== id && peer.name.toLowerCase() === name.toLowerCase());
      number++
    ) {
      const behind = `-${number}`
      name = `${begun(plain, NAME_MOST - behind.length)}${behind}`
    }
    return name
  }

  /** Whole or not at all: a new file is written, synced, then put in the old one's place. One write after the other. */
  #write(): Promise<void> {
    const file = this.#file
    if (file === undefined) return Promise.resolve()
    const writing = this.#writing.then(async () => {
      const live = [...this.#invitations.values()].filter(({ expires }) => expires > Date.now())
      const text = JSON.stringify({ version: 1, peers: this.all(), invitations: live } as Written, null, 2)
      await mkdir(dirname(file), { recursive: true, mode: 0o700 })
      const handle = await open(`${file}.new`, 'w', 0o600)
      try {
        await handle.writeFile(`${text}\n`)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await chmod(`${file}.new`, 0o600)
      await rename(`${file}.new`, file)
    })
    this.#writing = writing.catch(() => undefined)
    return writing
  }
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T
}

/** What a peer of the book looks like from outside. */
export function peerInfo(peer: KnownPeer, connected: boolean): PeerInfo {
  const { name, id, addresses, grants, owner } = peer
  return Object.freeze({ name, id, addresses, grants, ...(owner !== undefined && { owner }), connected })
}

/** @throws UsageError */
export function checkGrants(grants: readonly string[]): Grant[] {
  const unknown = grants.filter((grant) => !isGrant(grant))
  if (unknown.length === 0) return grants as Grant[]
  throw new UsageError(`unknown grant ${unknown.join(', ')}`, {
    hint: `there are: ${GRANTS.join(' ')} run:job:NAME spawn:NAME`,
  })
}

export function isGrant(grant: unknown): grant is Grant {
  return typeof grant === 'string' && ((GRANTS as readonly string[]).includes(grant) || isJobGrant(grant))
}

const NAME_MOST = 64
/** Control characters, and those that turn the letters of a line around: a name with them shows as another, or as none. */
const UNPRINTED = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu

/** Whether a peer or an owner may be called so: 1 to 64 characters, none of them a control, no blanks around them. */
export function isPlainName(name: string): boolean {
  return name !== '' && plainName(name) === name
}

/** What is left of a name that somebody else chose: '' where nothing is. */
export function plainName(name: string): string {
  return begun(name.replaceAll(UNPRINTED, '').trim(), NAME_MOST).trim()
}

function begun(text: string, most: number): string {
  return Array.from(text).slice(0, most).join('')
}

/** What an owner may be called: a name of 1 to 64 characters, none of them a control. @throws UsageError */
export function checkOwner(owner: string): string {
  if (isPlainName(owner)) return owner
  throw new UsageError('an owner is a name of 1 to 64 characters, without blanks around it')
}

/** `run:job:NAME`, `spawn:NAME`: exactly that job or machine, also one that is not offered yet. */
function isJobGrant(grant: string): boolean {
  return ['run:job:', 'spawn:'].some((kind) => grant.startsWith(kind) && isJobName(grant.slice(kind.length)))
}

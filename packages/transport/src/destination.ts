// Whom to reach on libp2p, as people and programs say it: a name, a peer id, an address; and what a failure to means.

import type { PeerId as NodeId } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import {
  AddressInUseError,
  DeniedError,
  type ErrandError,
  MalformedError,
  PeerUnreachableError,
  ProtocolError,
} from './errors.ts'
import type { PeerId } from './transport.ts'

/** A peer, and addresses that came with its name. */
export interface Destination {
  readonly id: PeerId
  readonly node: NodeId
  readonly addresses: readonly string[]
}

/**
 * `to`: one of the names, a multiaddr that ends in `/p2p/<id>`, or a peer id.
 * @throws MalformedError
 */
export function destinationOf(to: string, names: ReadonlyMap<string, readonly string[]>): Destination {
  const addresses = names.get(to) ?? (to.startsWith('/') ? [to] : undefined)
  if (addresses === undefined) return { id: to, node: parsePeer(to), addresses: [] }
  const id = peerOf(addresses[0]!)
  return { id, node: parsePeer(id), addresses }
}

/** Checks the names of the options at once, not when somebody is first dialled. @throws MalformedError, ProtocolError */
export function namesFrom(peers: Readonly<Record<string, readonly string[]>>): Map<string, readonly string[]> {
  const names = new Map<string, readonly string[]>()
  for (const [name, addresses] of Object.entries(peers)) {
    const [first] = addresses
    if (first === undefined) throw new MalformedError(`no address is given for ${name}`)
    const id = peerOf(first)
    for (const address of addresses) parseAddress(address, id)
    names.set(name, addresses)
  }
  return names
}

/** The id at the end of an address. Without one, whoever answers there would be trusted. @throws MalformedError */
export function peerOf(address: string): PeerId {
  const id = namedIn(parse(address))
  if (id === undefined) {
    throw new MalformedError(`${address} does not say whose it is`, { hint: 'it must end in /p2p/<peer id>' })
  }
  return parsePeer(id).toString()
}

/** @throws MalformedError */
export function parsePeer(peer: PeerId): NodeId {
  try {
    return peerIdFromString(peer)
  } catch (error) {
    throw new MalformedError(`${peer} is not a peer id`, { cause: error })
  }
}

/** An address that only this peer can answer: whoever else does fails the handshake. @throws MalformedError, ProtocolError */
export function parseAddress(address: string, peer: PeerId): Multiaddr {
  const parsed = parse(address)
  const named = namedIn(parsed)
  if (named !== undefined && named !== peer)
    throw new ProtocolError(`${address} is another peer's address, not ${peer}'s`)
  return withPeer(parsed, peer)
}

export function withPeer(address: Multiaddr, peer: PeerId): Multiaddr {
  return namedIn(address) === undefined ? address.encapsulate(`/p2p/${peer}`) : address
}

function parse(address: string): Multiaddr {
  try {
    return multiaddr(address)
  } catch (error) {
    throw new MalformedError(`${address} is not a multiaddr`, { cause: error, hint: 'like /ip4/127.0.0.1/tcp/4001' })
  }
}

function namedIn(address: Multiaddr): PeerId | undefined {
  return address.getComponents().findLast(({ name }) => name === 'p2p')?.value
}

export function unsupported(peer: PeerId, protocol: string, cause: unknown): ProtocolError {
  return new ProtocolError(`${peer} does not speak ${protocol}`, {
    cause,
    hint: 'the two errands are too far apart: update the older one',
  })
}

/** What a failed dial means; undefined where the peer broke off during the handshake, which may mean two things. */
export function dialError(peer: PeerId, error: unknown): ErrandError | undefined {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error]
  const text = errors.map((one) => `${(one as Error).name}: ${(one as Error).message}`).join('; ')
  // libp2p wraps what encryption says in an EncryptionFailedError that keeps the message alone.
  if (/unexpected ?peer|does not match expected/i.test(text)) {
    return new ProtocolError(`somebody else than ${peer} answers at its address`, { cause: error })
  }
  if (/denyOutbound\w*Connection/.test(text)) return new DeniedError(`${peer} is not admitted here`, { cause: error })
  if (/ECONNRESET|EPIPE|UnexpectedEOF|EncryptionFailed|ConnectionClosed/.test(text)) return undefined
  return new PeerUnreachableError(`${peer} cannot be reached (${text})`, {
    cause: error,
    hint: 'is it up, and does it still listen at this address?',
  })
}

export function listenError(error: unknown, listen: readonly string[]): unknown {
  if (error instanceof Error && /EADDRINUSE/.test(error.message)) {
    return new AddressInUseError(`another process listens on ${listen.join(', ')}`, { cause: error })
  }
  return error
}

// Tickets: one line of text that lets its holder join once. It holds a one-time key that may do nothing else.
import { crc32 } from 'node:zlib'
import { decode, encode, type PeerId } from '@errand/transport'
import { plainName } from './address-book.ts'
import { TicketError } from './errors.ts'

export interface Ticket {
  /** Who issued it, and where that peer is. */
  readonly id: PeerId
  readonly name: string
  readonly addresses: readonly string[]
  /** Seed of the one-time key (32 bytes). */
  readonly seed: Uint8Array
}

/** Says what the text is, and that it is whole: a letter lost in pasting is noticed. */
const PREFIX = 'errand1-'

export function writeTicket(ticket: Ticket): string {
  const body = encode([ticket.id, ticket.name, ticket.addresses, ticket.seed])
  const whole = Buffer.concat([body, sum(body)])
  return PREFIX + whole.toString('base64url')
}

/** @throws TicketError */
export function readTicket(text: string): Ticket {
  const line = text.trim()
  if (!line.startsWith(PREFIX)) {
    throw new TicketError('this is not a ticket', {
      hint: `a ticket begins with ${PREFIX}; \`errand invite\` prints one`,
    })
  }
  const whole = Buffer.from(line.slice(PREFIX.length), 'base64url')
  const body = whole.subarray(0, -4)
  if (whole.length < 40 || !sum(body).equals(whole.subarray(-4))) {
    throw new TicketError('the ticket is damaged', { hint: 'paste it again, whole and in one line' })
  }
  const fields = decode(body)
  const [id, name, addresses, seed] = Array.isArray(fields) ? (fields as unknown[]) : []
  const good =
    typeof id === 'string' &&
    typeof name === 'string' &&
    Array.isArray(addresses) &&
    addresses.every((address) => typeof address === 'string') &&
    seed instanceof Uint8Array &&
    seed.length === 32
  if (!good) throw new TicketError('the ticket is of another version of errand')
  return { id, name: plainName(name) || id.slice(-8), addresses: addresses as string[], seed }
}

/** CRC-32 as four bytes. */
function sum(bytes: Uint8Array): Buffer {
  const out = Buffer.alloc(4)
  out.writeUInt32BE(crc32(bytes))
  return out
}

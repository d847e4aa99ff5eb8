// errand invite, errand join: pairing by one pasted line.
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { peerDocument, PEER_FIELDS, pick } from '../render/json.ts'
import { printable } from '../render/table.ts'
import { defined } from '../work.ts'

export default async function invite(context: Context, flags: Flags): Promise<number> {
  const { terminal, json, signal } = context
  const { grant: grants, owner, uses, ttl } = flags
  const peer = await context.connect()
  const ticket = await peer.invite({ ...defined({ grants, owner, uses, ttl }), signal })
  await terminal.out(json === undefined ? `${ticket}\n` : `${JSON.stringify({ ticket })}\n`)
  const { addresses } = await peer.status({ signal })
  // A ticket says where we are; who holds it elsewhere would look on their own machine.
  if (context.quiet || json !== undefined) return EXIT.done
  if (!addresses.every(isLoopback)) {
    const hosts = addresses.map((address) => address.replace(/\/p2p\/.*$/, '')).join(' ')
    terminal.say(`this peer can be reached from elsewhere now: it listens at ${hosts}`)
  } else {
    terminal.say('this peer listens on this machine only: the ticket is good here, and nowhere else')
    terminal.say('  to be reached from elsewhere: `errand down`, then `errand up --listen /ip4/0.0.0.0/tcp/0`')
  }
  return EXIT.done
}

export async function join(context: Context, flags: Flags, [ticket]: readonly string[]): Promise<number> {
  const { terminal, json, signal } = context
  const peer = await context.connect()
  const joined = await peer.join(ticket!, { ...defined({ name: flags.name }), signal })
  await terminal.out(
    json === undefined
      ? `${printable(joined.name)}\n`
      : `${JSON.stringify(pick(peerDocument(joined), json, PEER_FIELDS))}\n`,
  )
  return EXIT.done
}

function isLoopback(address: string): boolean {
  return /^\/(?:ip4\/127\.|ip6\/::1\/|unix\/)/.test(address)
}

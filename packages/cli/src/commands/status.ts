// errand status: is this machine's peer up, and as what.
import type { PeerStatus } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { logOf } from '../local-peer.ts'
import { iso, pick } from '../render/json.ts'
import { printable } from '../render/table.ts'

export default async function status(context: Context): Promise<number> {
  // Asking must not start what is asked for.
  const peer = await context.connect({ start: false })
  await printStatus(context, await peer.status({ signal: context.signal }))
  return EXIT.done
}

export async function printStatus({ terminal, json, quiet }: Context, peer: PeerStatus): Promise<void> {
  const { name, id, pid, addresses, home, socket, version, jobs, sessions, hosted, peers, offers, onDemand } = peer
  if (json !== undefined) {
    const document = {
      name,
      id,
      pid,
      addresses,
      home,
      socket,
      version,
      startedAt: iso(peer.startedAt),
      jobs,
      sessions,
      hosted,
      peers,
      offers,
      onDemand,
      log: home === undefined ? null : logOf(home),
    }
    return terminal.out(`${JSON.stringify(pick(document, json))}\n`)
  }
  if (quiet) return terminal.out(`${id}\n`)
  const lines: [string, string][] = [
    ['name', name],
    ['peer id', id === 'local' ? 'none yet: it is made when there is another peer' : id],
    ...addresses.map((address, index): [string, string] => [index === 0 ? 'addresses' : '', address]),
    ['pid', String(pid)],
    ['up since', iso(peer.startedAt) ?? ''],
    ['home', home ?? ''],
    ['log', home === undefined ? '' : logOf(home)],
    ['jobs', `${jobs.running} running, ${jobs.total} in all`],
    ['sessions', String(sessions)],
    ['for others', `${hosted.sessions} sessions, ${hosted.running} running`],
    ['peers', String(peers)],
    ...offered('machine', offers.machines),
    ...offered('job', offers.jobs),
  ]
  await terminal.out(lines.map(([label, value]) => `${label.padEnd(10)} ${printable(value)}\n`).join(''))
}

/** What others may ask for, where there is anything. */
function offered(what: string, names: readonly string[]): [string, string][] {
  if (names.length === 0) return []
  return [['offers', `${names.length === 1 ? what : `${what}s`} ${names.join(', ')}`]]
}

// errand peer …: the address book and the policy.
import type { LocalPeer, PeerId } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT, exitCodeOf } from '../exit-codes.ts'
import { Failure, usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { sayError } from '../render/error.ts'
import { checkFields, peerDocument, PEER_FIELDS, pick } from '../render/json.ts'
import { printable, table } from '../render/table.ts'
import { defined } from '../work.ts'

/** errand peer list. */
export async function list(context: Context): Promise<number> {
  const { terminal, json, quiet } = context
  const peer = await context.connect()
  const known = await peer.peers({ signal: context.signal })
  if (json !== undefined) {
    checkFields(json, PEER_FIELDS)
    await terminal.out(`${JSON.stringify(known.map((one) => pick(peerDocument(one), json, PEER_FIELDS)))}\n`)
  } else if (quiet) await terminal.out(known.map(({ name }) => `${printable(name)}\n`).join(''))
  else {
    const columns = ['NAME', 'CONNECTED', 'OWNER', 'GRANTS', 'ID', 'ADDRESSES'].map((title) => ({ title }))
    const rows = known.map(({ name, connected, owner, grants, id, addresses }) => [
      name,
      connected ? 'yes' : 'no',
      owner ?? '-',
      grants.join(',') || '-',
      id,
      addresses.join(','),
    ])
    const style = { columns: terminal.columns, gap: '  ', title: (line: string) => terminal.data('bold', line) }
    await terminal.out(table(columns, rows, style))
    if (known.length === 0) terminal.say('no peers: `errand invite` here, `errand join TICKET` there')
  }
  return EXIT.done
}

/** errand peer add ID: a peer that may do something here without a ticket. */
export async function add(context: Context, flags: Flags, [word]: readonly string[]): Promise<number> {
  const { grant, name, owner } = flags
  const peer = await context.connect()
  idIn(word!)
  await peer.allow(word!, grant ?? [], { ...defined({ name, owner }), signal: context.signal })
  return EXIT.done
}

/** errand peer allow PEER. */
export async function allow(context: Context, flags: Flags, [word]: readonly string[]): Promise<number> {
  const { grant, name, owner } = flags
  const peer = await context.connect()
  const id = await idOf(peer, word!, context.signal)
  await peer.allow(id, grant ?? ['connect', 'run:script', 'run:command'], {
    ...defined({ name, owner }),
    signal: context.signal,
  })
  return EXIT.done
}

/** errand peer deny PEER…: nothing here any more, and what is open is closed; we may still go there. */
export async function deny(context: Context, _flags: Flags, words: readonly string[]): Promise<number> {
  const { signal } = context
  const peer = await context.connect()
  await Promise.all(words.map((word) => peer.deny(word, { signal })))
  return EXIT.done
}

/** errand peer remove PEER…: the same, and out of the address book. */
export async function remove(context: Context, _flags: Flags, words: readonly string[]): Promise<number> {
  const { signal } = context
  const peer = await context.connect()
  await Promise.all(words.map((word) => peer.forget(word, { signal })))
  return EXIT.done
}

/** errand peer ping PEER…: one request there and back, a connection first where there is none. */
export async function ping(context: Context, _flags: Flags, words: readonly string[]): Promise<number> {
  const { terminal, json, verbose, signal } = context
  const peer = await context.connect()
  let exitCode: number = EXIT.done
  for (const word of words) {
    try {
      const answer = await peer.ping(word, { signal })
      const ms = Math.round(answer.ms * 100) / 100
      await terminal.out(json === undefined ? `${word} ${ms} ms\n` : `${JSON.stringify({ peer: word, ms })}\n`)
    } catch (error) {
      sayError(terminal, error, { json: json !== undefined, verbose })
      exitCode = exitCode === EXIT.done ? exitCodeOf(error) : exitCode
    }
  }
  return exitCode
}

/** A peer id, also the one at the end of a multiaddr. @throws Failure USAGE */
function idIn(word: string): PeerId {
  const id = /\/p2p\/([^/]+)$/.exec(word)?.[1] ?? word
  // Base58 of a multihash: what a peer calls itself in `errand status`.
  if (/^[1-9A-HJ-NP-Za-km-z]{40,}$/.test(id)) return id
  throw usage(`'${word}' is not a peer id`, '`errand status` there shows it')
}

/** By name (any case), id, or a beginning of an id that no other has. @throws Failure PEER_NOT_FOUND */
async function idOf(peer: LocalPeer, word: string, signal: AbortSignal): Promise<PeerId> {
  const known = await peer.peers({ signal })
  const named = known.find(({ name, id }) => id === word || name.toLowerCase() === word.toLowerCase())
  if (named) return named.id
  const begun = word.length >= 8 ? known.filter(({ id }) => id.startsWith(word)) : []
  if (begun.length === 1) return begun[0]!.id
  throw new Failure(
    'PEER_NOT_FOUND',
    `no peer '${word}' in the address book`,
    '`errand peer list` shows those there are',
  )
}

// npm run -s campaign -- buffering [SECONDS] [--store PATH] [--limit MIB]: a script in a process that says 100 MB a second
// for so long (60), in a session on a peer in another process, and nobody reads; first in a session that blocks, then in one
// that drops. Then it is read. Prints a table; throws where that peer's memory grew by 64 MiB or more, or where the reader
// got anything but what was promised: all of it, or one gap and the rest. `--store`: a durable store in that folder instead
// of memory. `--limit`: what is kept unread, if not 48 (on disk 1024). Linux.

import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { libp2p } from '@errand/transport/libp2p'
import { createPeer, type Peer, type ScriptContext } from '../src/index.ts'
import type { Asked, BufferingPeerOptions, Looked } from './fixtures/buffering-peer.ts'

const SECONDS = 60
const RATE = 100_000_000
/** Guarantee G8. */
const MOST = 64 * 1024 * 1024
/** Of one record. */
const SIZE = 65_536
const PATIENCE_MS = 120_000

interface Said {
  readonly n: number
  readonly bytes: Uint8Array
  /** Of the last one: how many there were. */
  readonly all?: number
}

/** So many bytes a second for so long, as far as it is let. */
async function* producer(ctx: ScriptContext, ms: number, rate: number, size: number): AsyncGenerator<Said> {
  const since = performance.now()
  const bytes = new Uint8Array(size).fill(7)
  let n = 0
  for (let gone = 0; gone < ms; gone = performance.now() - since) {
    const due = (Math.min(gone + 10, ms) * rate) / 1000 / size
    // Not made up for what it could not say meanwhile, when it waited: that is over.
    for (const until = Math.min(due, n + rate / 10 / size); n < until; n++) yield { n, bytes }
    await ctx.sleep(1)
  }
  yield { n, bytes, all: n + 1 }
}

interface Server {
  /** Bytes that may be left unread. */
  readonly limit: number
  readonly child: ChildProcess
  ask(what: Asked): Promise<Looked>
}

async function startServer(options: BufferingPeerOptions): Promise<Server> {
  const program = fileURLToPath(new URL('./fixtures/buffering-peer.ts', import.meta.url))
  const child = fork(program, [JSON.stringify(options)], { execArgv: ['--conditions=source'] })
  const [ready] = await Promise.race([once(child, 'message'), once(child, 'exit')])
  if (ready !== 'ready') throw new Error(`the other peer did not start: ${String(ready)}`)
  return {
    child,
    limit: options.limit,
    async ask(what) {
      child.send(what)
      const [answer] = (await once(child, 'message')) as [Looked]
      return answer
    },
  }
}

const mib = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1)

/** What was not as promised, once it can be told. @throws Error at once where the reader got what nobody said */
async function measure(here: Peer, server: Server, buffering: 'block' | 'drop', ms: number): Promise<string[]> {
  await here.join((await server.ask('begin')).ticket)
  await using session = await here.connect(buffering, { buffering })
  // What a job needs at all is there before the first look: a process, a log, the code of the way.
  await (await session.start(producer, { args: [500, RATE / 100, SIZE] })).output()
  await server.ask('begin')
  const job = await session.start(producer, { args: [ms, RATE, SIZE] })
  await delay(ms + 3_000)
  const { paused, state } = (await session.job(job.id)).snapshot
  const unread = await server.ask('look')
  let [next, gaps, dropped, all] = [0, 0, 0, 0]
  const since = performance.now()
  for await (const record of job.receive({ follow: true, signal: AbortSignal.timeout(PATIENCE_MS + ms) })) {
    if (record.kind === 'gap') {
      gaps++
      dropped += record.dropped
      next += record.dropped
    } else if (record.kind === 'output') {
      const said = record.value as Said
      if (said.n !== next) throw new Error(`${buffering}: record ${said.n} came in the place of ${next}`)
      if (said.bytes.byteLength !== SIZE) throw new Error(`${buffering}: record ${next} is not whole`)
      all = said.all ?? 0
      next++
    } else throw new Error(`${buffering}: it said ${record.kind}`, { cause: record })
  }
  const read = performance.now() - since
  const grown = unread.rss.most - unread.rss.first
  const rate = buffering === 'drop' ? `${((all * SIZE) / 1e6 / (ms / 1000)).toFixed(0)} MB/s` : '-'
  console.log(
    [buffering.padEnd(6), `${state}${paused ? ` (${paused})` : ''}`.padEnd(22), rate.padStart(9)]
      .concat(
        [mib(unread.rss.first), mib(grown), mib(unread.used.most - unread.used.first)].map((it) => it.padStart(9)),
      )
      .concat([all, next - dropped, gaps, dropped].map((it) => String(it).padStart(9)))
      .concat(`${((((next - dropped) * SIZE) / 1e6 / read) * 1000).toFixed(0)} MB/s`.padStart(10))
      .join(' '),
  )
  const last = await job.finished
  const full = all * SIZE > server.limit
  await job.remove()
  return [
    ...(last.state === 'Completed' ? [] : [`it is ${last.state}: ${last.reason?.message}`]),
    ...(next === all ? [] : [`${all} were said, and ${next} are accounted for`]),
    ...(gaps === (buffering === 'drop' && full ? 1 : 0) ? [] : [`${gaps} gaps`]),
    ...(paused === (buffering === 'block' && full ? 'output-full' : undefined)
      ? []
      : [`it was ${paused ?? 'not'} paused`]),
    ...(grown < MOST ? [] : [`memory grew by ${mib(grown)} MiB`]),
  ].map((fault) => `${buffering}: ${fault}`)
}

export async function run(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { store: { type: 'string' }, limit: { type: 'string' } },
    allowPositionals: true,
  })
  const ms = Number(positionals[0] ?? SECONDS) * 1000
  if (!(ms >= 1000)) throw new Error(`buffering [SECONDS] [--store PATH] [--limit MIB], not '${args.join(' ')}'`)
  const folder = await mkdtemp(join(tmpdir(), 'errand-'))
  const { store } = values
  const limit = Number(values.limit ?? (store === undefined ? 48 : 1024)) * 1024 * 1024
  if (store !== undefined) await mkdir(store, { recursive: true })
  try {
    await using here = await createPeer({
      name: 'here',
      transport: libp2p({ listen: ['/ip4/127.0.0.1/tcp/0'], keyFile: join(folder, 'key') }),
    })
    const columns = ['at first', 'grown', 'in use', 'said', 'received', 'gaps', 'dropped'].map((it) => it.padStart(9))
    console.log(
      ['mode'.padEnd(6), 'unread, it is'.padEnd(22), 'said at'.padStart(9), ...columns, '   read at'].join(' '),
    )
    const faults: string[] = []
    // Each has a peer that did nothing before.
    for (const buffering of ['block', 'drop'] as const) {
      const keyFile = join(folder, `${buffering}.key`)
      const kept = store === undefined ? {} : { store: join(store, `${buffering}.db`) }
      const server = await startServer({ name: buffering, keyFile, limit, ...kept })
      try {
        faults.push(...(await measure(here, server, buffering, ms)))
      } finally {
        server.child.disconnect()
        await once(server.child, 'exit')
      }
    }
    if (faults.length > 0) throw new Error(faults.join('; '))
  } finally {
    await rm(folder, { recursive: true })
  }
}

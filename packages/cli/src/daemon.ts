// The composition of this machine's peer: the only place where the runtime meets libp2p. Runs until it is told to leave.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PeerHost, type NetworkPurpose } from '@errand/runtime'
import { milliseconds } from '@errand/runtime/client'
import { sqlite } from '@errand/runtime/sqlite'
import { keepPorts, listenOn, portOf, readConfig, withPorts, writeConfig, type Config } from './config.ts'
import type { Signals } from './context.ts'
import { onInterrupt } from './interrupt.ts'
import { LazyTransport } from './lazy-transport.ts'
import { LEAVE_AFTER } from './settings.ts'
import { defined } from './work.ts'

export interface DaemonOptions {
  readonly home: string
  /** How others may call it; remembered. */
  readonly name?: string | undefined
  /** Multiaddrs; remembered. */
  readonly listen?: readonly string[] | undefined
  readonly lostAfter?: string | undefined
  /** Started by a command that needed it: leaves when it has not been needed for a while. */
  readonly onDemand: boolean
  readonly version: string
  readonly signals: Signals
  /** It answers at its socket now. */
  onReady(): Promise<void>
}

/** How often a daemon that was started on demand looks whether anybody needs it, in milliseconds, at the least. */
const LOOK_MS = 30_000

/**
 * Runs this machine's peer until it is shut down, gets SIGTERM or SIGINT, or has been idle for long enough.
 * @throws KeyInUseError, AddressInUseError when one runs in this home already
 */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { home, name, listen, lostAfter, onDemand, version, signals } = options
  await mkdir(home, { recursive: true, mode: 0o700 })
  if (name !== undefined || listen !== undefined) {
    const before = (await readConfig(home)).listen
    await writeConfig(home, defined({ name, listen: listen && keepPorts(listen, before) }))
  }
  const config = await readConfig(home)
  const network = (purpose: NetworkPurpose): LazyTransport => transportOf(home, config, purpose)
  const log = (message: string, details?: Record<string, unknown>): void =>
    void process.stderr.write(`${JSON.stringify({ at: new Date(), message, ...details })}\n`)
  const peer = await PeerHost.open({
    home,
    store: sqlite(join(home, 'errand.db'), { onTrouble: ({ code, message }) => log('store', { code, what: message }) }),
    ...defined({ name: config.name, lostAfter: lostAfter ?? config.lostAfter }),
    version,
    onDemand,
    serveLocal: true,
    // Who was told to listen listens from the start; who was not needs no network before there is another peer.
    transport: config.listen === undefined ? network : network('invite'),
    log,
  })
  using _signals = onInterrupt(signals, () => void peer.close())
  const leaveAfter = milliseconds(config.leaveAfter ?? LEAVE_AFTER)
  using _idle = onDemand ? whenIdle(peer, leaveAfter, Math.min(LOOK_MS, Math.max(1000, leaveAfter))) : undefined
  try {
    await options.onReady()
  } finally {
    // Whoever started us may have gone away in the meantime; that is no reason to leave.
    await peer.closed
  }
}

/** Closes a peer that nobody has needed for `idle` milliseconds. */
export function whenIdle(
  peer: Pick<PeerHost, 'idle' | 'activeAt' | 'local' | 'close'>,
  idle: number,
  look: number,
): Disposable {
  const timer = setInterval(() => {
    // Jobs that have ended are needed as long as they are in the table: they live in memory, and would go with us.
    const needed = !peer.idle || peer.local.snapshot.jobs > 0
    if (!needed && performance.now() - peer.activeAt >= idle) void peer.close()
  }, look)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** libp2p with this home's key. What was bound is remembered, so that the next start finds the same port. */
function transportOf(home: string, before: Config, purpose: NetworkPurpose): LazyTransport {
  return new LazyTransport(
    async () => {
      // Since then somebody may have been joined, and a port chosen.
      const config = { ...before, ...(await readConfig(home)) }
      const { libp2p } = await import('@errand/transport/libp2p')
      return libp2p({ keyFile: join(home, 'key'), listen: listenOn(config, purpose === 'invite') })
    },
    async ({ addresses }) => {
      const { listen } = await readConfig(home)
      const port = portOf(addresses)
      // Whoever has invited somebody must stay where it was found.
      const kept = listen ?? (purpose === 'invite' ? ['/ip4/0.0.0.0/tcp/0'] : undefined)
      await writeConfig(home, defined({ port, listen: kept && withPorts(kept, addresses) }))
    },
  )
}

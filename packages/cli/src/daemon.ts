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
import { offersOf } from './offers.ts'
import { printable } from './render/table.ts'
import { LEAVE_AFTER } from './settings.ts'
import { defined } from './work.ts'

export interface DaemonOptions {
  readonly home: string
  /** How others may call it; remembered. */
  readonly name?: string | undefined
  /** Multiaddrs; remembered. */
  readonly listen?: readonly string[] | undefined
  /** `memory`, or an absolute path; remembered. */
  readonly store?: string | undefined
  /** Remembered. */
  readonly mdns?: boolean | undefined
  /** Remembered. */
  readonly bootstrap?: readonly string[] | undefined
  /** Absolute paths of modules whose exports are offered; remembered. */
  readonly offer?: readonly string[] | undefined
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
 * @throws KeyInUseError, AddressInUseError when one runs in this home already; Failure OFFER
 */
export async function runDaemon(options: DaemonOptions): Promise<void> {
  const { home, name, listen, store, mdns, bootstrap, offer, lostAfter, onDemand, version, signals } = options
  await mkdir(home, { recursive: true, mode: 0o700 })
  // First: what cannot be offered is not remembered either.
  const offers = await offersOf(offer ?? (await readConfig(home)).offer ?? [])
  const asked = { name, store, mdns, bootstrap, listen, offer }
  if (Object.values(asked).some((one) => one !== undefined)) {
    const before = (await readConfig(home)).listen
    await writeConfig(home, defined({ ...asked, listen: listen && keepPorts(listen, before) }))
  }
  const config = await readConfig(home)
  const file = config.store ?? join(home, 'errand.db')
  const kept = file !== 'memory'
  const peer = await PeerHost.open({
    home,
    ...defined({
      store: kept
        ? sqlite(file, { onTrouble: ({ code, message }) => log('store', { code, what: message }) })
        : undefined,
      reach: reachAtOnce(config),
    }),
    ...defined({ name: config.name, lostAfter: lostAfter ?? config.lostAfter }),
    version,
    onDemand,
    serveLocal: true,
    bootstrap: config.bootstrap ?? [],
    ...offers,
    transport: (purpose) => transportOf(home, config, purpose),
    log,
  })
  // Others may come at any time, or count on us for staying connected; and jobs that are in memory would go with us.
  const isNeeded = (): boolean =>
    peer.reach === 'invite' || config.bootstrap !== undefined || (!kept && peer.local.snapshot.jobs > 0)
  let asks = 0
  using _signals = onLeave(signals, () => {
    const { length: running } = peer.local.unfinished
    if (++asks > 1) return peer.hurry()
    if (running > 0) log('asks what runs to stop; told to leave again, it ends it by force', { jobs: running })
    void peer.close()
  })
  const leaveAfter = milliseconds(config.leaveAfter ?? LEAVE_AFTER)
  const look = Math.min(LOOK_MS, Math.max(1000, leaveAfter))
  using _idle = onDemand ? whenIdle(peer, leaveAfter, look, isNeeded) : undefined
  try {
    await options.onReady()
  } finally {
    // Whoever started us may have gone away in the meantime; that is no reason to leave.
    await peer.closed
  }
}

/** A line on stderr: JSON in a log, words for who looks on. */
function log(message: string, details: Record<string, unknown> = {}): void {
  const { stderr } = process
  const words = Object.entries(details).map(([what, value]) => `, ${what}: ${printable(String(value))}`)
  stderr.write(
    stderr.isTTY
      ? `errand: ${message}${words.join('')}\n`
      : `${JSON.stringify({ at: new Date(), message, ...details })}\n`,
  )
}

/** Who was told to be found listens from the start; who was told nothing needs no network before there is another peer. */
function reachAtOnce({ listen, mdns, bootstrap }: Config): NetworkPurpose | undefined {
  if (listen !== undefined || mdns) return 'invite'
  return bootstrap === undefined || bootstrap.length === 0 ? undefined : 'dial'
}

/** SIGTERM, Ctrl-C, and the end of the terminal that we run in: whoever is told so again wants it sooner. */
function onLeave(signals: Signals, leave: () => void): Disposable {
  const interrupts = onInterrupt(signals, leave)
  signals.on('SIGHUP', leave)
  return {
    [Symbol.dispose]() {
      interrupts[Symbol.dispose]()
      signals.off('SIGHUP', leave)
    },
  }
}

/** Closes a peer that nobody has been at for `idle` milliseconds, unless it is needed all the same. */
export function whenIdle(
  peer: Pick<PeerHost, 'idle' | 'activeAt' | 'close'>,
  idle: number,
  look: number,
  isNeeded: () => boolean,
): Disposable {
  const timer = setInterval(() => {
    if (peer.idle && !isNeeded() && performance.now() - peer.activeAt >= idle) void peer.close()
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
      const listen = listenOn(config, purpose === 'invite')
      return libp2p({
        keyFile: join(home, 'key'),
        listen,
        ...defined({ mdns: config.mdns, bootstrap: config.bootstrap }),
      })
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

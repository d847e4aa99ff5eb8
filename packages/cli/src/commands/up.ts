// errand up: this machine's peer, in the background or in this terminal.
import { writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { codeOf, milliseconds, type PeerStatus } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import type { DaemonOptions } from '../daemon.ts'
import { EXIT, exitCodeOf } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { findDaemon, findOrStartDaemon, TAKEN, type ReadyLine } from '../local-peer.ts'
import { errorDocument } from '../render/error.ts'
import { printStatus } from './status.ts'
import { versionOf } from '../version.ts'

export default async function up(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const listen = listenAddresses(flags, words)
  if (flags.lostAfter !== undefined) milliseconds(flags.lostAfter)
  const kept = storeOf(context, flags)
  const bootstrap = bootstrapAddresses(flags)
  const told = { name: flags.name, listen, store: kept, mdns: flags.mdns, bootstrap, lostAfter: flags.lostAfter }
  if (flags.foreground) return foreground(context, flags, told)
  const { peer, started } = await findOrStartDaemon({
    home: context.home,
    env: context.env,
    signal: context.signal,
    flags: [
      ...(flags.name === undefined ? [] : ['--name', flags.name]),
      ...(listen ?? []).flatMap((address) => ['--listen', address]),
      ...(kept === undefined ? [] : ['--store', kept]),
      ...(flags.mdns ? ['--mdns'] : []),
      ...(bootstrap ?? []).flatMap((address) => ['--bootstrap', address]),
      ...(flags.lostAfter === undefined ? [] : ['--lost-after', flags.lostAfter]),
    ],
  })
  try {
    const status = await peer.status({ signal: context.signal })
    if (!started && !context.quiet) sayAlready(context, status, told)
    await printStatus(context, status)
  } finally {
    await peer.close()
  }
  return EXIT.done
}

/** `--listen A B` and `--listen A --listen B` are one. */
function listenAddresses(flags: Flags, words: readonly string[]): readonly string[] | undefined {
  const extra = words.find((word) => flags.listen === undefined || !word.startsWith('/'))
  if (extra !== undefined) throw usage(`'${extra}' is too much`, 'errand up [--listen ADDR…]')
  const bad = flags.listen?.find((address) => !address.startsWith('/'))
  if (bad !== undefined) throw usage(`'${bad}' is not a multiaddr`, 'write /ip4/127.0.0.1/tcp/4100')
  return flags.listen && [...flags.listen, ...words]
}

/** `memory`, or a file as the caller's directory has it. */
function storeOf({ cwd }: Context, { store }: Flags): string | undefined {
  if (store === '') throw usage('--store needs a file, or memory')
  return store === undefined || store === 'memory' ? store : resolve(cwd, store)
}

function bootstrapAddresses({ bootstrap }: Flags): readonly string[] | undefined {
  const bad = bootstrap?.find((address) => !/^\/.+\/p2p\/[^/]+$/.test(address))
  if (bad === undefined) return bootstrap
  throw usage(
    `'${bad}' does not say who is there`,
    'write /ip4/192.0.2.7/tcp/4100/p2p/ID, as `errand status` there shows it',
  )
}

/** What `up` was told, with `listen` and the rest as the daemon takes them. */
type Told = Pick<DaemonOptions, 'name' | 'listen' | 'store' | 'mdns' | 'bootstrap' | 'lostAfter'>

function sayAlready({ terminal }: Context, status: PeerStatus, { name, ...others }: Told): void {
  terminal.say('already up')
  const other = (name !== undefined && name !== status.name) || Object.values(others).some((one) => one !== undefined)
  if (other) terminal.say('  what it was told now is not in force: `errand down` first')
}

/** Runs it here. Whoever started us reads one line of JSON on a pipe: that it is up, or why it is not. */
async function foreground(context: Context, flags: Flags, told: Told): Promise<number> {
  const { runDaemon } = await import('../daemon.ts')
  const ready = (line: ReadyLine): void => {
    if (flags.readyFd !== undefined) writeSync(flags.readyFd, `${JSON.stringify(line)}\n`)
  }
  try {
    await runDaemon({
      home: context.home,
      ...told,
      onDemand: flags.onDemand === true,
      version: versionOf(),
      signals: context.signals,
      onReady: async () => {
        ready({ up: true })
        if (flags.readyFd !== undefined) return
        const peer = await findDaemon(context.home, context.signal)
        if (!peer) return
        await printStatus(context, await peer.status())
        await peer.close()
      },
    })
    return EXIT.done
  } catch (error) {
    if (flags.readyFd === undefined) throw error
    ready({ up: false, ...errorDocument(error) })
    // Also for the log; losing a race to be the one daemon is nothing to be looked into.
    if (codeOf(error) === TAKEN) return exitCodeOf(error)
    context.terminal.say(`${new Date().toISOString()} ${Error.isError(error) ? error.stack : String(error)}`)
    return exitCodeOf(error)
  }
}

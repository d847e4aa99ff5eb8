// errand up: this machine's peer, in the background or in this terminal.
import { writeSync } from 'node:fs'
import { codeOf, type PeerStatus } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import type { DaemonOptions } from '../daemon.ts'
import { EXIT, exitCodeOf } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { findDaemon, findOrStartDaemon, TAKEN, type ReadyLine } from '../local-peer.ts'
import { errorDocument } from '../render/error.ts'
import { settingNamed } from '../settings.ts'
import { printStatus } from './status.ts'
import { versionOf } from '../version.ts'

export default async function up(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const told = toldBy(context, flags, words)
  const { name, listen, store, mdns, bootstrap, offer, lostAfter } = told
  if (flags.foreground) return foreground(context, flags, told)
  const { peer, started } = await findOrStartDaemon({
    home: context.home,
    env: context.env,
    signal: context.signal,
    flags: [
      ...(name === undefined ? [] : ['--name', name]),
      ...(listen ?? []).flatMap((address) => ['--listen', address]),
      ...(store === undefined ? [] : ['--store', store]),
      ...(mdns ? ['--mdns'] : []),
      ...(bootstrap ?? []).flatMap((address) => ['--bootstrap', address]),
      ...(offer ?? []).flatMap((file) => ['--offer', file]),
      ...(lostAfter === undefined ? [] : ['--lost-after', lostAfter]),
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

/** What it may be told is what `errand config set` takes. `--listen A B` and `--listen A --listen B` are one. @throws Failure USAGE */
function toldBy({ home, cwd, env }: Context, flags: Flags, words: readonly string[]): Told {
  const extra = words.find((word) => flags.listen === undefined || !word.startsWith('/'))
  if (extra !== undefined) throw usage(`'${extra}' is too much`, 'errand up [--listen ADDR…]')
  const setting = (key: string, said: readonly string[] | undefined): unknown =>
    said && settingNamed(key).parse(said, { home, cwd, env, flags })
  const one = (said: string | undefined): string[] | undefined => (said === undefined ? undefined : [said])
  return {
    name: setting('name', one(flags.name)),
    listen: setting('listen', flags.listen && [...flags.listen, ...words]),
    store: setting('store', one(flags.store)),
    mdns: flags.mdns,
    bootstrap: setting('bootstrap', flags.bootstrap),
    offer: setting('offer', flags.offer),
    lostAfter: setting('lost-after', one(flags.lostAfter)),
  } as Told
}

/** What `up` was told, with `listen` and the rest as the daemon takes them. */
type Told = Pick<DaemonOptions, 'name' | 'listen' | 'store' | 'mdns' | 'bootstrap' | 'offer' | 'lostAfter'>

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

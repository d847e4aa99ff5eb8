// errand down: ends this machine's peer.
import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { asError, codeOf, type LocalPeer } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Failure } from '../failure.ts'
import type { Flags } from '../flags.ts'

/** How often we look whether the process is gone: nobody can be told of the end of a process that is not its child. */
const LOOK_MS = 20

export default async function down(context: Context, flags: Flags): Promise<number> {
  const { terminal, signal } = context
  let peer: LocalPeer
  try {
    peer = await context.connect({ start: false })
  } catch (error) {
    if (codeOf(error) !== 'PEER_UNREACHABLE') throw error
    if (!context.quiet) terminal.say('not up')
    return EXIT.done
  }
  const { pid } = await peer.status({ signal })
  try {
    await peer.shutdown({ ...(flags.drain && { drain: true }), ...(flags.force && { force: true }), signal })
  } catch (error) {
    if (codeOf(error) === 'JOB_NOT_FINISHED')
      throw new Failure('JOB_NOT_FINISHED', asError(error).message, '--drain waits for them, --force ends them')
    // It may be gone before its answer has left: that is what was asked for.
    if (codeOf(error) !== 'PEER_LOST' && codeOf(error) !== 'CHANNEL_CLOSED') throw error
  }
  while (await isAlive(pid)) await delay(LOOK_MS, undefined, { signal })
  if (context.json !== undefined) await terminal.out(`${JSON.stringify({ pid })}\n`)
  return EXIT.done
}

/** A zombie has ended: only its parent, which is not we, has not looked yet. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  if (process.platform !== 'linux') return true
  // proc(5): the name, field 2, may hold blanks and brackets; the state follows it.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z')
  return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
}

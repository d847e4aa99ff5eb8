// errand launch: a process that is no job.
import { resolve } from 'node:path'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'

export default async function launch(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const [program, ...rest] = words
  if (program === undefined) throw usage('nothing to launch', 'give a command')
  const peer = await context.connect()
  const { pid } = await peer.launch([program, ...rest], {
    cwd: resolve(context.cwd, flags.cwd ?? '.'),
    env: { ...context.env, ...flags.env },
    signal: context.signal,
  })
  await context.terminal.out(context.json === undefined ? `${pid}\n` : `${JSON.stringify({ pid })}\n`)
  return EXIT.done
}

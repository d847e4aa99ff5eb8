// errand map: one script for many inputs, followed to its end.
import { resolve } from 'node:path'
import type { Job, Target } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import type { Flags } from '../flags.ts'
import { followOwn, sayingNews, showingItems } from '../follow.ts'
import { inputOf } from '../input.ts'
import { mapScript } from '../map-script.ts'
import { targetsOf } from '../places.ts'
import { printerOf } from '../render/record.ts'
import { defined, initOf } from '../work.ts'

export default async function map(context: Context, flags: Flags, [word]: readonly string[]): Promise<number> {
  const script = await mapScript(context, flags, word)
  if (flags.input === undefined && context.terminal.types && !context.quiet)
    context.terminal.say('errand: a line for each; Ctrl-D ends')
  const peer = await context.connect()
  const source = inputOf(context, flags.input ?? '-', { lines: flags.lines })
  const local = flags.on === undefined
  const { name, using, throttle, ordered, itemDeadline: itemTimeout, deadline, maxMemory, lostAfter } = flags
  const options = {
    ...{ name, using, throttle, ordered, itemTimeout, deadline, maxMemory, lostAfter },
    on: local ? undefined : ((await targetsOf(peer, flags.on!, context)) as Target[]),
    init: await initOf(context, flags),
    cwd: local ? resolve(context.cwd, flags.cwd ?? '.') : flags.cwd,
    env: local ? { ...context.env, ...flags.env } : flags.env,
    signal: context.signal,
  }
  const job = (await peer.map(source, script, defined(options))) as Job
  const jobs = [job]
  let exitCode: number
  {
    const placed = [{ place: { location: undefined, at: undefined, table: peer }, job }]
    const printer = printerOf(context, flags, jobs)
    await using _ = sayingNews(context, placed, context.signal)
    await using __ = showingItems(context, placed, printer, () => source.total)
    exitCode = await followOwn(context, jobs, printer)
  }
  if (flags.rm && job.endedAt !== undefined) await job.remove()
  return exitCode
}

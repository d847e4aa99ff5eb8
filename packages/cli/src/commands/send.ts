// errand send: values to a job's input, events to a machine.
import type { Job } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { untilDetached } from '../follow.ts'
import { inputOf } from '../input.ts'
import { meantBy, placesOf } from '../places.ts'
import { typedValue } from '../typed-value.ts'
import type { Actor } from './send-events.ts'

export default async function send(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const [word, value, fields] = words
  if (word === '-') throw usage('stdin is what is sent: name the job')
  const json = context.json !== undefined
  const one = value === undefined || value === '-' ? undefined : typedValue(value, json)
  // Ending it says nothing beside; `errand send 3 - --eof` sends stdin first.
  const reads = value === '-' || (value === undefined && !flags.eof)
  const peer = await context.connect()
  const meant = await meantBy(peer, await placesOf(peer, flags.at, context), [word!], context)
  const jobs: Job[] = []
  const machines: Actor[] = []
  for (const one of meant) {
    if (!('job' in one)) machines.push(one.actor)
    else if (one.job.type === 'MachineJob') machines.push(one.job)
    else jobs.push(one.job)
  }
  if (machines.length > 0) {
    if (jobs.length > 0) throw usage(`some of '${word}' are machines, and take events; others take values`)
    const { sendEvents } = await import('./send-events.ts')
    return sendEvents(context, flags, machines, words.slice(1))
  }
  if (fields !== undefined)
    throw usage(`'${fields}' is too much`, 'a job is sent one value: quote it; only machines take two')
  return untilDetached(context, async (signal) => {
    if (one !== undefined) await Promise.all(jobs.map((job) => job.send(one.value, { signal })))
    if (reads) {
      // The next line is read when the job has room for it.
      for await (const line of inputOf({ ...context, signal }, '-', { lines: !json }))
        await Promise.all(jobs.map((job) => job.send(line, { signal })))
      signal.throwIfAborted()
    }
    if (flags.eof) await Promise.all(jobs.map((job) => job.endInput({ signal })))
    return EXIT.done
  })
}

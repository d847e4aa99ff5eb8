// errand spawn: a machine that a peer offers, as a job of its.
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { codeOf } from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Failure, usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { idLines, jobDocuments, placesOf } from '../places.ts'
import { checkFields, JOB_FIELDS } from '../render/json.ts'
import { defined } from '../work.ts'

export default async function spawn(context: Context, flags: Flags, [machine]: readonly string[]): Promise<number> {
  const { terminal, json, signal } = context
  checkFields(json ?? [], JOB_FIELDS)
  const input = flags.input === undefined ? undefined : await inputOf(context, flags.input)
  const peer = await context.connect()
  const places = await placesOf(peer, flags.at, context)
  const { name, register, group: groups } = flags
  const options = defined({ input, name, register, groups, signal })
  const spawned = await Promise.all(
    places.map(async (place) => {
      const job = await place.table.startMachine(machine!, options).catch((error: Error) => {
        throw input === undefined && codeOf(error) === 'INVALID_INPUT' ? withoutInput(error) : error
      })
      return { place, job }
    }),
  )
  if (json === undefined) await terminal.out(idLines(spawned))
  else {
    const documents = jobDocuments(spawned, json)
    await terminal.out(`${JSON.stringify(documents.length === 1 ? documents[0] : documents)}\n`)
  }
  return EXIT.done
}

/** Its machine wants one. */
function withoutInput({ message }: Error): Failure {
  return new Failure(
    'INVALID_INPUT',
    message,
    '--input is what it begins with: JSON, @FILE for a file of it, or - for stdin',
  )
}

/** One value: JSON as typed, of a file, or of stdin. @throws Failure USAGE */
async function inputOf({ terminal, cwd, signal }: Context, what: string): Promise<unknown> {
  let given = what
  if (what === '-') given = await text(terminal.stdin)
  else if (what.startsWith('@')) {
    const path = resolve(cwd, what.slice(1))
    given = await readFile(path, { encoding: 'utf8', signal }).catch((error: Error) => {
      throw usage(`${path} cannot be read: ${error.message}`)
    })
  }
  try {
    return JSON.parse(given) as unknown
  } catch (error) {
    throw usage(
      `--input: '${given.trim().slice(0, 200)}' is not JSON: ${(error as Error).message}`,
      'JSON, @FILE for a file of it, or - for stdin; text is written with quotes: \'"text"\'',
    )
  }
}

// From what was typed to what is done: `-e CODE`, FILE.ts[#export], or a command; and how it is to be done.
import { resolve } from 'node:path'
import {
  defineJob,
  type Code,
  type Command,
  type ModuleText,
  type StartOptions,
  type Work,
} from '@errand/runtime/client'
import { looksLikeFile } from './argv.ts'
import type { Context } from './context.ts'
import { usage } from './failure.ts'
import type { Flags } from './flags.ts'

/**
 * The one piece of work that a line names.
 * @throws Failure USAGE for none or several; SCRIPT for a file that cannot travel
 */
export async function workOf(context: Context, flags: Flags, words: readonly string[]): Promise<Work> {
  const [first, ...others] = words
  if (flags.eval !== undefined && flags.job !== undefined) throw usage('-e and --job exclude each other')
  if (flags.eval !== undefined) {
    if (first !== undefined) {
      throw usage(`'${first}' is too much beside -e CODE`, 'arguments go into --args, a JSON array')
    }
    return { code: flags.eval }
  }
  if (flags.job !== undefined) {
    if (first !== undefined)
      throw usage(`'${first}' is too much beside --job`, 'its one value goes into --args, as JSON')
    if (flags.using !== undefined) throw usage('--using is for scripts', 'a named job takes one value: --args')
    // By its name: what it does is known where it runs.
    return defineJob({ name: flags.job, run: () => undefined })
  }
  if (first === undefined) throw usage('nothing to do', 'give a command, a FILE.ts, or -e CODE')
  if (!flags.dashed && looksLikeFile(first)) {
    if (others.length > 0) {
      throw usage(`'${others[0]}' is too much beside the file ${first}`, 'arguments go into --args, a JSON array')
    }
    const { readModule } = await import('./module-text.ts')
    return readModule(first, context.cwd)
  }
  if (flags.args !== undefined || flags.using !== undefined) {
    throw usage('--args and --using are for scripts', "a command's arguments follow it")
  }
  return [first, ...others]
}

/** Whether work is a program with its arguments rather than a script. */
export function isCommand(work: Work): work is Command {
  return Array.isArray(work)
}

/**
 * How work is started, as far as flags say. What runs on this machine for its own table (`local`) takes the caller's
 * directory and environment along; anything else keeps its host's.
 */
export async function startOptions(context: Context, flags: Flags, local: boolean): Promise<StartOptions> {
  const { args: given, using, name, engine, maxMemory, allow: permissions } = flags
  const { deadline, delay, restart, retry: times, after } = flags
  // A script has a list of them, a named job one value.
  const args = given === undefined || flags.job !== undefined || Array.isArray(given) ? given : [given]
  const cwd = local ? resolve(context.cwd, flags.cwd ?? '.') : flags.cwd
  const env = local ? { ...context.env, ...flags.env } : flags.env
  return defined({
    ...{ args, using, name, engine, maxMemory, permissions, deadline, delay, restart, cwd, env },
    init: await initOf(context, flags),
    retry: times === undefined ? undefined : { times },
    after: after === undefined ? undefined : jobWord(after),
    signal: context.signal,
  }) as StartOptions
}

/** Code, or the text of a file. */
export async function initOf(context: Context, { init }: Flags): Promise<ModuleText | Code | undefined> {
  if (init === undefined) return undefined
  if (!looksLikeFile(init)) return { code: init }
  const { readModule } = await import('./module-text.ts')
  return readModule(init, context.cwd)
}

/** A job as typed: a number is one. */
export function jobWord(word: string): string | number {
  return /^\d+$/.test(word) ? Number(word) : word
}

type Defined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** Options that were not given are left out: an explicit `undefined` is not "the default" to everybody. */
export function defined<T extends object>(options: T): Partial<Defined<T>> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<Defined<T>>
}

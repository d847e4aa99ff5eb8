// What the files of `errand up --offer` offer to others: their exports that `defineJob` and `defineMachine` made.
import { pathToFileURL } from 'node:url'
import {
  codeOf,
  isJobDefinition,
  isMachineDefinition,
  type JobDefinition,
  type MachineDefinition,
} from '@errand/runtime'
import { Failure } from './failure.ts'

export interface Offers {
  readonly jobs: readonly JobDefinition[]
  readonly machines: readonly MachineDefinition[]
}

/** Imports them, in this process. `files` are absolute paths. @throws Failure OFFER, which says what to do about the file */
export async function offersOf(files: readonly string[]): Promise<Offers> {
  // What two files export, or one under two names, is one.
  const jobs = new Set<JobDefinition>()
  const machines = new Set<MachineDefinition>()
  for (const file of files) {
    const exported = Object.values(await imported(file))
    const found = [exported.filter(isJobDefinition), exported.filter(isMachineDefinition)] as const
    if (found.every((some) => some.length === 0))
      throw new Failure('OFFER', `${file} offers nothing`, 'export what `defineMachine` or `defineJob` makes')
    for (const job of found[0]) jobs.add(job)
    for (const machine of found[1]) machines.add(machine)
  }
  return { jobs: [...jobs], machines: [...machines] }
}

async function imported(file: string): Promise<object> {
  try {
    return (await import(pathToFileURL(file).href)) as object
  } catch (error) {
    throw new Failure('OFFER', `${file} cannot be offered: ${(error as Error).message}`, hintFor(file, error))
  }
}

function hintFor(file: string, error: unknown): string {
  const code = codeOf(error)
  const [, missing] = /^Cannot find package '((?:@[^/]+\/)?[^/']+)/.exec((error as Error).message) ?? []
  if (missing !== undefined) return `it is imported from where it lies: npm install ${missing} there`
  if (code === 'ERR_MODULE_NOT_FOUND' && (error as Error).message.includes(file))
    return 'there is no such file; `errand config unset offer` offers nothing any more'
  return 'plain Node imports it: an ES module, in JavaScript or TypeScript without enum and namespace'
}

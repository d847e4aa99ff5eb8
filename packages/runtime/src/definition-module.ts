// The file that a definition stands in: imported where it is run, and found there among what it exports, by its name.
// Imported by whoever defines one: nothing heavy is loaded here.
import { AsyncLocalStorage } from 'node:async_hooks'
import { asError, JobModuleError, UsageError } from './errors.ts'

/** What `module` may be: the file: URL of a file. `what`: whose. @throws UsageError */
export function moduleUrl(module: string | URL, what: string): string {
  const url = String(module)
  if (url.startsWith('file:')) return url
  throw new UsageError(`\`module\` of ${what} is the file: URL of a file, not '${url.slice(0, 200)}'`, {
    hint: 'write `module: import.meta.url` in the file that exports it',
  })
}

/** Whose module is being imported, in everything that its import does. One per thread, whichever copy of this asks. */
const IMPORTING = Symbol.for('errand.importing')
const importing = ((globalThis as Record<symbol, unknown>)[IMPORTING] ??=
  new AsyncLocalStorage<string>()) as AsyncLocalStorage<string>

/** How a kind of definitions is called, made, and known. */
export interface DefinitionKind<D> {
  readonly word: 'job' | 'machine'
  readonly made: 'defineJob' | 'defineMachine'
  is(value: unknown): value is D
}

/** Imports that file, in whatever isolate this is. @throws JobModuleError */
export async function imported<D extends { readonly name: string }>(
  kind: DefinitionKind<D>,
  name: string,
  module: string,
): Promise<D> {
  const called = `${kind.word} '${name}'`
  const what = `the module of ${called} (${module})`
  let exported: object
  try {
    exported = await importing.run(called, () => import(module) as Promise<object>)
  } catch (error) {
    const cause = asError(error)
    throw new JobModuleError(`${what} cannot be imported where the ${kind.word} runs: ${cause.message}`, {
      cause,
      hint: 'plain Node imports it there: an ES module, in JavaScript or TypeScript without enum and namespace',
    })
  }
  const all = Object.values(exported).filter((value) => kind.is(value))
  const found = all.find((one) => one.name === name)
  if (found) return found
  const others = all.map((one) => `'${one.name}'`).join(', ')
  throw new JobModuleError(`${what} does not export it${others && `; it exports ${others}`}`, {
    hint: `\`export const … = ${kind.made}({ … })\` in the file that \`module\` names`,
  })
}

/**
 * A program that defines something and starts it in one file would start it again in each isolate that imports that file.
 * @throws JobModuleError
 */
export function refuseWhileImporting(what: string): void {
  const called = importing.getStore()
  if (called === undefined) return
  throw new JobModuleError(`${what} while the module of ${called} is being imported to run it`, {
    hint: 'keep definitions in a file of their own, or put the program under `if (import.meta.main)`',
  })
}

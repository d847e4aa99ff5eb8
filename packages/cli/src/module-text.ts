// FILE.ts[#export]: one self-contained file, read here, types stripped, sent as text.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { builtinModules, stripTypeScriptTypes } from 'node:module'
import { resolve } from 'node:path'
import type { ModuleText } from '@errand/runtime/client'
import { looksLikeFile } from './argv.ts'
import { Failure, usage } from './failure.ts'
import { importSpecifiers } from './import-specifiers.ts'

/**
 * Reads a file as work.
 * @throws Failure USAGE when there is no such file, SCRIPT when it cannot travel, with the reason
 */
export async function readModule(word: string, cwd: string): Promise<ModuleText> {
  const { path, name } = parted(word, cwd)
  if (/\.(?:cts|cjs|tsx|jsx)$/.test(path)) {
    throw new Failure('SCRIPT', `${word} is not an ES module`, 'a file job is one .ts, .mts, .js or .mjs file')
  }
  const source = await readFile(resolve(cwd, path), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw usage(`there is no file ${path}`, `to run a command of that name: -- ${word}`)
    throw usage(`${path} cannot be read: ${error.message}`)
  })
  const module = moduleText(source, path)
  return { module, file: word, ...(name === undefined ? {} : { export: name }) }
}

/** What a file's text is on the far side: no types, no neighbours. @throws Failure SCRIPT */
export function moduleText(source: string, path: string): string {
  const text = /\.m?ts$/.test(path) ? stripped(source, path) : source
  for (const { specifier } of importSpecifiers(text)) {
    if (specifier.startsWith('node:')) continue
    if (builtinModules.includes(specifier)) {
      throw new Failure('SCRIPT', `${path} imports '${specifier}'`, `write 'node:${specifier}'`)
    }
    const why = /^(?:\.{0,2}\/|file:|[A-Za-z]:)/.test(specifier)
      ? 'the file travels alone, what lies beside it stays here'
      : 'packages are not sent along, and the far peer may not have it'
    throw new Failure(
      'SCRIPT',
      `${path} imports '${specifier}': ${why}`,
      'a file job may import only node: modules (types with `import type`); bundle it into one file first',
    )
  }
  return text
}

/** A `#` may also be part of the file's own name. */
function parted(word: string, cwd: string): { path: string; name: string | undefined } {
  const hash = word.lastIndexOf('#')
  if (hash < 0 || existsSync(resolve(cwd, word))) return { path: word, name: undefined }
  const path = word.slice(0, hash)
  return looksLikeFile(path) ? { path, name: word.slice(hash + 1) } : { path: word, name: undefined }
}

function stripped(source: string, path: string): string {
  // Node announces that this function may change; the user of a command line cannot do anything about it.
  const emitWarning = Reflect.get(process, 'emitWarning') as NodeJS.Process['emitWarning']
  process.emitWarning = () => {}
  try {
    return stripTypeScriptTypes(source, { mode: 'strip' })
  } catch (error) {
    throw new Failure(
      'SCRIPT',
      `${path} cannot be read as TypeScript: ${firstLine(error)}`,
      HINTS[String((error as NodeJS.ErrnoException).code)],
    )
  } finally {
    process.emitWarning = emitWarning
  }
}

const HINTS: Readonly<Record<string, string>> = {
  ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX: 'types are erased, not compiled: no enum, namespace or parameter property',
}

function firstLine(error: unknown): string {
  return (error as Error).message.split('\n', 1)[0]!
}

// Bundles programs of the workspace from their sources, and writes down which those were.
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { isAbsolute, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'
import { BUNDLE_SOURCES, isFresh, type BundleSources } from '../packages/runtime/src/engine/isolate-entry.ts'

export interface BundleOptions {
  /** One self-contained file each: what is imported on demand is run on demand. Else that is a file of its own. */
  readonly whole?: boolean
  /** More files to write, of what the bundles were made of. */
  readonly beside?: (sources: readonly string[]) => Readonly<Record<string, string>>
  /** Files that make the bundles old when they change, though they are not in them. */
  readonly also?: readonly string[]
}

/**
 * Makes a folder of bundles, one for each entry and under its name, unless they are what they would become. Nothing else
 * stays in that folder. Returns all files they were made of.
 */
export async function bundle(
  folder: string,
  entries: readonly string[],
  options: BundleOptions = {},
): Promise<string[]> {
  if (isFresh(pathToFileURL(`${folder}/`))) return Object.keys(manifest(folder)).map((path) => resolve(folder, path))
  mkdirSync(folder, { recursive: true })
  let before = ''
  for (;;) {
    const began = Date.now()
    const made = await Promise.all(entries.map((entry) => bundleOne(entry, options)))
    const files = [...new Set([import.meta.filename, ...(options.also ?? []), ...made.flatMap((one) => one.sources)])]
    const sources = sourcesOf(folder, files)
    const text = `${JSON.stringify(sources, undefined, 1)}\n`
    // One that was changed meanwhile may have been read before or after that: once more.
    if (Object.values(sources).some(([, mtimeMs]) => mtimeMs >= began) && text !== before) {
      before = text
      continue
    }
    const written: Record<string, string> = { ...options.beside?.(files) }
    for (const { texts } of made) Object.assign(written, texts)
    // What they were made of last: until then they are not believed, whatever is written in them.
    for (const [name, content] of Object.entries({ ...written, [BUNDLE_SOURCES]: text })) write(folder, name, content)
    for (const name of readdirSync(folder)) {
      if (!(name in written) && name !== BUNDLE_SOURCES && !name.startsWith('.')) rmSync(join(folder, name))
    }
    return files
  }
}

function manifest(folder: string): BundleSources {
  return JSON.parse(readFileSync(join(folder, BUNDLE_SOURCES), 'utf8')) as BundleSources
}

function sourcesOf(folder: string, files: Iterable<string>): BundleSources {
  const sources: Record<string, BundleSources[string]> = {}
  for (const file of files) {
    const { size, mtimeMs } = statSync(file)
    sources[relative(folder, file)] = [size, mtimeMs]
  }
  return sources
}

interface Made {
  readonly texts: Readonly<Record<string, string>>
  /** All that was read for it, also what left nothing in it. */
  readonly sources: readonly string[]
}

async function bundleOne(entry: string, { whole = false }: BundleOptions): Promise<Made> {
  const bundling = await rolldown({
    input: entry,
    platform: 'node',
    resolve: { conditionNames: ['source', 'node', 'import', 'default'] },
    checks: { ineffectiveDynamicImport: false }, // what one place imports late, another needs at once
  })
  try {
    // The names of classes are what errors are called.
    const { output } = await bundling.generate({
      format: 'esm',
      codeSplitting: !whole,
      keepNames: true,
      entryFileNames: '[name].js',
    })
    const texts = Object.fromEntries(output.flatMap((one) => (one.type === 'chunk' ? [[one.fileName, one.code]] : [])))
    return { texts, sources: (await bundling.watchFiles).filter((file) => isAbsolute(file)) }
  } finally {
    await bundling.close()
  }
}

/** Whole or not at all: something may be starting from it, or writing it too. */
export function write(folder: string, name: string, text: string): void {
  const unfinished = join(folder, `.${name}.${process.pid}`)
  writeFileSync(unfinished, text)
  renameSync(unfinished, join(folder, name))
}

// Which file an isolate starts from. Its entry bundled into one self-contained file, which starts in a fraction of the
// time; from source only a bundle of these very sources, and else the entry as it stands in TypeScript.
import { existsSync, readFileSync, statSync } from 'node:fs'

const fromSource = import.meta.url.endsWith('.ts')
/** From a bundle, too, this is the folder it lies in. */
const BUNDLES = new URL(fromSource ? '../../dist/isolates/' : '../isolates/', import.meta.url)

/** What a bundle was made of: files, as they are named from the bundle's folder, with size and time of last change. */
export type BundleSources = Readonly<Record<string, readonly [size: number, mtimeMs: number]>>

/** Where a folder of bundles keeps its {@link BundleSources}. */
export const BUNDLE_SOURCES = 'sources.json'

/**
 * Node's flags for an isolate: from source the workspace's packages are found by their `source` condition, by a
 * script's imports as well. A bundle knows by its own flags.
 */
export const isolateFlags: readonly string[] =
  fromSource || process.execArgv.includes('--conditions=source') ? ['--conditions=source'] : []

let bundled: boolean | undefined

/** The file to start; a store's worker, too, is bundled with the isolates. */
export function isolateEntry(
  name: 'worker-entry' | 'process-entry' | 'machine-entry' | 'reaper-entry' | 'sqlite-entry',
): URL {
  // Asked once: this program goes on as what it was when it started.
  bundled ??= fromSource ? isFresh(BUNDLES) : existsSync(BUNDLES)
  if (bundled) return new URL(`${name}.js`, BUNDLES)
  const home = name === 'sqlite-entry' ? '../store' : '.'
  return new URL(`${home}/${name}.${fromSource ? 'ts' : 'js'}`, import.meta.url)
}

/** Whether every file that these bundles were made of is still the one they were made of. */
export function isFresh(folder: URL): boolean {
  try {
    const sources = JSON.parse(readFileSync(new URL(BUNDLE_SOURCES, folder), 'utf8')) as BundleSources
    return Object.entries(sources).every(([path, [size, mtimeMs]]) => {
      const now = statSync(new URL(path, folder))
      return now.size === size && now.mtimeMs === mtimeMs
    })
  } catch {
    return false // none were made, or of what is no longer there
  }
}

// Bundles what isolates start from into one self-contained file each, beside what the compiler makes: what an isolate
// loads, it loads again for every job. For `npm run build`, and for the tests before they begin.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle } from './bundle.ts'

const engine = fileURLToPath(new URL('../packages/runtime/src/engine', import.meta.url))
export const ISOLATES: string = fileURLToPath(new URL('../packages/runtime/dist/isolates', import.meta.url))

/** Makes the bundles, unless they are what they would become. Returns the files they were made of. */
export function bundleIsolates(): Promise<string[]> {
  const entries = [
    'worker-entry.ts',
    'process-entry.ts',
    'machine-entry.ts',
    'reaper-entry.ts',
    '../store/sqlite-entry.ts',
  ].map((name) => join(engine, name))
  return bundle(ISOLATES, entries, {
    whole: true,

    beside: (sources) => ({ 'LICENSES.txt': licenses(sources) }),
  })
}

/** What the packages in the bundles ask to be said of them. */
function licenses(files: readonly string[]): string {
  const roots = new Set<string>()
  for (const file of files) {
    const root = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0]
    if (root) roots.add(root)
  }
  return [...roots]
    .sort()
    .map((root) => {
      const { name, license } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, string>
      const file = readdirSync(root).find((one) => /^licen[cs]e/i.test(one))
      return `${name} (${license})\n\n${file ? readFileSync(join(root, file), 'utf8').trim() : ''}\n`
    })
    .join(`\n${'─'.repeat(80)}\n\n`)
}

if (import.meta.main) await bundleIsolates()

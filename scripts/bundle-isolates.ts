// Bundles what isolates start from into one self-contained file each, beside what the compiler makes: what an isolate
// loads, it loads again for every job. For `npm run build`, and for the tests before they begin.
import { mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { isAbsolute, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { rolldown } from 'rolldown'
import { BUNDLE_SOURCES, isFresh, type BundleSources } from '../packages/runtime/src/engine/isolate-entry.ts'

const engine = fileURLToPath(new URL('../packages/runtime/src/engine', import.meta.url))
const folder = fileURLToPath(new URL('../packages/runtime/dist/isolates', import.meta.url))

/** Makes the bundles, unless they are what they would become. */
export async function bundleIsolates(): Promise<void> {
  if (isFresh(pathToFileURL(`${folder}/`))) return
  mkdirSync(folder, { recursive: true })
  const entries = readdirSync(engine).filter((name) => name.endsWith('-entry.ts') && name !== 'isolate-entry.ts')
  for (let before = ''; ;) {
    const began = Date.now()
    const bundles = await Promise.all(entries.map((name) => bundle(join(engine, name))))
    const files = new Set([import.meta.filename, ...bundles.flatMap((one) => one.files)])
    const sources = sourcesOf(files)
    const text = `${JSON.stringify(sources, undefined, 1)}\n`
    // One that was changed meanwhile may have been read before or after that: once more.
    if (Object.values(sources).some(([, mtimeMs]) => mtimeMs >= began) && text !== before) {
      before = text
      continue
    }
    // Their sources last: until then the bundles are not believed, whatever is said to be in them.
    for (const { name, code } of bundles) write(name, code)
    write('LICENSES.txt', licenses(files))
    write(BUNDLE_SOURCES, text)
    return
  }
}

function sourcesOf(files: Iterable<string>): BundleSources {
  const sources: Record<string, BundleSources[string]> = {}
  for (const file of files) {
    const { size, mtimeMs } = statSync(file)
    sources[relative(folder, file)] = [size, mtimeMs]
  }
  return sources
}

interface Bundle {
  readonly name: string
  readonly code: string
  /** All that was read for it, also what left nothing in it. */
  readonly files: readonly string[]
}

async function bundle(entry: string): Promise<Bundle> {
  const bundling = await rolldown({
    input: entry,
    platform: 'node',
    resolve: { conditionNames: ['source', 'node', 'import', 'default'] },
    checks: { ineffectiveDynamicImport: false }, // what one entry imports late, another needs at once
  })
  try {
    const { output } = await bundling.generate({
      format: 'esm',
      // One file: what is imported on demand is run on demand. The names of classes are what errors are called.
      codeSplitting: false,
      keepNames: true,
      entryFileNames: '[name].js',
    })
    const files = (await bundling.watchFiles).filter((file) => isAbsolute(file))
    return { name: output[0].fileName, code: output[0].code, files }
  } finally {
    await bundling.close()
  }
}

/** Whole or not at all: an isolate may be starting from it. */
function write(name: string, text: string): void {
  const unfinished = join(folder, `.${name}.${process.pid}`)
  writeFileSync(unfinished, text)
  renameSync(unfinished, join(folder, name))
}

/** What the packages in the bundles ask to be said of them. */
function licenses(files: Iterable<string>): string {
  const roots = new Set<string>()
  for (const file of files) {
    const root = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0]
    if (root) roots.add(root)
  }
  return [...roots]
    .sort()
    .map((root) => {
      const license = readdirSync(root).find((name) => /^licen[cs]e/i.test(name))
      const { name, license: terms } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
        string,
        string
      >
      return `${name} (${terms})\n\n${license ? readFileSync(join(root, license), 'utf8').trim() : ''}\n`
    })
    .join(`\n${'─'.repeat(80)}\n\n`)
}

/** vitest's global setup. */
export async function setup(project: { onTestsRerun(again: () => Promise<void>): void }): Promise<void> {
  await bundleIsolates()
  project.onTestsRerun(bundleIsolates)
}

if (import.meta.main) await bundleIsolates()

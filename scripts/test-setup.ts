// Before the tests: bundles of what they start again and again, made of the sources as they are now.
import { copyFileSync, mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle, write } from './bundle.ts'
import { bundleIsolates, ISOLATES } from './bundle-isolates.ts'
import { placeOf } from './test-program.ts'

const PROGRAMS = [
  'packages/cli/src/main.ts',
  'packages/runtime/test/support/peer-process.ts',
  'packages/runtime/campaigns/fixtures/durable-peer.ts',
]

async function bundleAll(): Promise<void> {
  const isolates = await bundleIsolates()
  for (const program of PROGRAMS) {
    const source = new URL(`../${program}`, import.meta.url)
    const { home, folder } = placeOf(source)
    await bundle(folder, [fileURLToPath(source)], { also: isolates })
    // Where it looks for them, as it would in the package's `dist`.
    copyFileSync(join(home, 'package.json'), join(folder, '../package.json'))
    copyFolder(ISOLATES, join(folder, '../isolates'))
  }
}

function copyFolder(from: string, to: string): void {
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(from)) write(to, name, readFileSync(join(from, name), 'utf8'))
}

export async function setup(project: { onTestsRerun(again: () => Promise<void>): void }): Promise<void> {
  await bundleAll()
  project.onTestsRerun(bundleAll)
}

// errand version: what this is.
import { createRequire } from 'node:module'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { pick } from '../render/json.ts'

/** The version of this package; the same from sources and from the build. */
export function versionOf(): string {
  return (createRequire(import.meta.url)('../../package.json') as { version: string }).version
}

export default async function version({ terminal, json }: Context): Promise<number> {
  const document = { version: versionOf(), node: process.version, platform: process.platform, arch: process.arch }
  await terminal.out(json === undefined ? `errand ${document.version}\n` : `${JSON.stringify(pick(document, json))}\n`)
  return EXIT.done
}

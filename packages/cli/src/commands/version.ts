// errand version: what this is.
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { pick } from '../render/json.ts'
import { versionOf } from '../version.ts'

export default async function version({ terminal, json }: Context): Promise<number> {
  const document = { version: versionOf(), node: process.version, platform: process.platform, arch: process.arch }
  await terminal.out(json === undefined ? `errand ${document.version}\n` : `${JSON.stringify(pick(document, json))}\n`)
  return EXIT.done
}

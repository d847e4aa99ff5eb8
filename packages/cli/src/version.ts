// Which errand this is.
import { createRequire } from 'node:module'

/** The version of this package; the same from sources and from the build. */
export function versionOf(): string {
  return (createRequire(import.meta.url)('../package.json') as { version: string }).version
}

// Node's permission model as flags of a child process: what its script may do, and what errand's own code in it needs.
import { existsSync, realpathSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { PermissionSpec } from '../wire.ts'

/** For `node`, before its entry. Relative paths are taken from `cwd`. */
export function permissionFlags(may: PermissionSpec, cwd: string | undefined): string[] {
  const from = cwd ?? process.cwd()
  // Beside the star Node takes no other path.
  const flags = (name: string, list: readonly string[], always: readonly string[] = []): string[] =>
    (list.includes('*') ? ['*'] : [...always, ...list.map((path) => resolve(from, path))]).map(
      (path) => `--allow-fs-${name}=${path}`,
    )
  return [
    '--permission',
    ...flags('read', may.read ?? [], ownCode()),
    ...flags('write', may.write ?? []),
    ...(may.childProcess ? ['--allow-child-process'] : []),
    ...(may.worker ? ['--allow-worker'] : []),
  ]
}

let own: readonly string[] | undefined

/** Where the code lies that an isolate runs on: our packages, and wherever modules are looked for from there. */
function ownCode(): readonly string[] {
  if (own) return own
  const here = packageOf(dirname(fileURLToPath(import.meta.url)))
  const transport = packageOf(realpathSync(dirname(fileURLToPath(import.meta.resolve('@errand/transport')))))
  const found = new Set([here, transport])
  for (const start of [here, transport]) {
    for (let folder = start, above = dirname(start); ; folder = above, above = dirname(folder)) {
      const modules = join(folder, 'node_modules')
      if (existsSync(modules)) found.add(modules)
      if (above === folder) break
    }
  }
  return (own = [...found])
}

function packageOf(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, 'package.json')) || dirname(at) === at) return at
  }
}

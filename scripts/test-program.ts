// Programs that tests start many times over: bundled once before the tests begin, they start in half the time.
import { basename, join, relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isFresh } from '../packages/runtime/src/engine/isolate-entry.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The package a program's source belongs to, and the folder of its bundle: in that package, so that it finds the same. */
export function placeOf(source: URL): { home: string; folder: string; name: string } {
  const file = fileURLToPath(source)
  const [packages = '', one = ''] = relative(root, file).split(sep)
  const home = join(root, packages, one)
  const name = basename(file, '.ts')
  return { home, folder: join(home, 'node_modules/.cache/errand', name), name }
}

/** What to start: the bundle of these very sources, or the source. */
export function testProgram(source: URL): string {
  const { folder, name } = placeOf(source)
  return isFresh(pathToFileURL(`${folder}/`)) ? join(folder, `${name}.js`) : fileURLToPath(source)
}

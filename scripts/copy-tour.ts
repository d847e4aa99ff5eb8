// Puts the programs of `errand demo` beside what the compiler makes of it: they are examples, and travel with the package.
import { copyFileSync, mkdirSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'

const root = join(import.meta.dirname, '..')
const tour = join(root, 'packages/cli/dist/tour')

rmSync(tour, { recursive: true, force: true })
mkdirSync(tour, { recursive: true })
for (const file of ['eventlog.ts', 'demo/leave.ts', 'demo/take-up.ts']) {
  copyFileSync(join(root, 'examples', file), join(tour, basename(file)))
}

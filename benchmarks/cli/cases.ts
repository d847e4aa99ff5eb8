// What a command costs until its shell has its prompt back: whole processes of what `npm run build` has made, beside a Node
// that does nothing.

import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Row, type Skipped, inTurns, row, typical } from '../transport/row.ts'

const suite = 'cli'
const MAIN = fileURLToPath(new URL('../../packages/cli/dist/main.js', import.meta.url))
/** Starts in a turn: the median of them counts. */
const STARTS = 7
const TURNS = 5

/** By case: what is typed. */
const typed: Readonly<Record<string, readonly string[]>> = {
  'cli-help': ['--help'],
  'cli-list': ['list'],
  'cli-complete': ['__complete', '--', 'receive', ''],
}

export const cases: readonly string[] = Object.keys(typed)

const run = promisify(execFile)

export async function* cli(asked: ReadonlySet<string>): AsyncGenerator<Row | Skipped> {
  const wanted = cases.filter((name) => asked.has(name))
  if (!existsSync(MAIN)) {
    for (const name of wanted) yield { suite, case: name, skipped: 'there is no build: `npm run build`' }
    return
  }
  const home = mkdtempSync(join(tmpdir(), 'errand-bench-'))
  const env = { ...process.env, ERRAND_HOME: home }
  const start = (...words: readonly string[]): Promise<unknown> => run(process.execPath, words, { env })
  try {
    // The daemon is there, and has a job to show.
    execFileSync(process.execPath, [MAIN, 'start', '--wait', '-e', '1'], { env, stdio: 'ignore' })
    const commands: Record<string, () => Promise<number>> = Object.fromEntries(
      wanted.map((name) => [name, () => typical(STARTS, () => start(MAIN, ...typed[name]!))] as const),
    )
    commands['node'] = () => typical(STARTS, () => start('-e', '0'))
    const times = await inTurns(TURNS, commands)
    for (const name of wanted) {
      yield row({
        ...{ suite, case: name, unit: 'ms', ours: times[name]! / 1000, peer: times['node']! / 1000 },
        peerName: `node -e 0; ours: errand ${typed[name]!.join(' ')}`,
      })
    }
  } finally {
    execFileSync(process.execPath, [MAIN, 'down', '--force'], { env, stdio: 'ignore' })
    rmSync(home, { recursive: true, force: true })
  }
}

// Runs a command with the pinned Node on PATH, installing the workspace first where that has not been done.
// Plain JavaScript for Node 18 and later: it is what a fresh machine runs before it has Node 24.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const bin = join(root, 'node_modules', '.bin')

// A Ctrl-C is for the whole group: the command decides what it means, we wait for it.
process.on('SIGINT', () => undefined)

install()
const [command, ...args] = process.argv.slice(2)
if (command) process.exit(run(command, args, 'inherit'))

/** Once per lockfile: pnpm notes in `.modules.yaml` when it last linked. */
function install() {
  const linked = join(root, 'node_modules', '.modules.yaml')
  const lock = join(root, 'pnpm-lock.yaml')
  if (existsSync(linked) && existsSync(join(bin, 'node')) && statSync(linked).mtimeMs >= statSync(lock).mtimeMs) return
  const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  process.stderr.write(`installing the workspace (${packageManager}, once)\n`)
  // stdout stays the command's own.
  const code = run('npx', ['--yes', packageManager, 'install', '--frozen-lockfile'], ['inherit', 2, 'inherit'], root)
  if (code !== 0) process.exit(code)
}

/** In the caller's own directory, unless another is named. */
function run(file, list, stdio, cwd) {
  const env = { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH ?? ''}` }
  const windows = process.platform === 'win32'
  const { status, signal, error } = spawnSync(windows ? `${file}.cmd` : file, list, {
    cwd,
    env,
    stdio,
    shell: windows,
  })
  if (error) {
    process.stderr.write(`${file} could not be started: ${error.message}\n`)
    return 127
  }
  return status ?? (signal === 'SIGINT' ? 130 : 1)
}

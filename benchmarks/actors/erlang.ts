// Two Erlang nodes on this machine, connected as such nodes are: by a TCP connection that is not encrypted.

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { freePort } from '../remote/rival.ts'
import { Program } from './program.ts'

const SOURCE = fileURLToPath(new URL('./counting.erl', import.meta.url))

/** A node that takes orders: each by a line, answered by a line. */
export interface Nodes extends AsyncDisposable {
  order(feat: string, place: 'here' | 'there', count: number): Promise<number>
}

/** Both nodes, with a folder for what they are compiled to; or why there are none. */
export async function erlangNodes(folder: string): Promise<Nodes | string> {
  const absent = ['erl', 'erlc', 'epmd'].filter((program) => !isHere(program))
  if (absent.length > 0) return `no ${absent.join(', ')} here (Debian: apt-get install erlang-base)`
  execFileSync('erlc', ['-o', folder, SOURCE])
  await using stack = new AsyncDisposableStack()
  // A port mapper of our own, which ends with us.
  const port = String(await freePort())
  const env = { ...process.env, ERL_EPMD_PORT: port, ERL_EPMD_ADDRESS: '127.0.0.1', HOME: folder }
  const start = (program: string, ...args: readonly string[]): Program => stack.use(new Program(program, args, env))
  await start('epmd', '-d', '-d', '-port', port).warned('entering the main select() loop')
  const node = (name: string, ...begin: readonly string[]): Program =>
    start(
      'erl',
      ...['-noshell', '-start_epmd', 'false', '-name', `${name}@127.0.0.1`, '-setcookie', 'errand', '-pa', folder],
      ...['-kernel', 'inet_dist_use_interface', '{127,0,0,1}', '-s', 'counting', ...begin],
    )
  await node('far', 'far').line()
  const near = node('near', 'near', 'far@127.0.0.1')
  await near.line()
  const kept = stack.move()
  return {
    async order(feat, place, count) {
      near.write(`${feat} ${place} ${count}\n`)
      const value = Number(await near.line())
      if (!(value > 0)) throw new Error(`erlang: ${feat} ${place} gave no figure`)
      return value
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  }
}

function isHere(program: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

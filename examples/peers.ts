// Other machines for the examples. Each is a process of its own with a key of its own, and is spoken to over libp2p as
// one in the next room would be; only that it listens on 127.0.0.1.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'

/** Where every peer of the examples listens: on this machine, any free port. */
export const listen: readonly string[] = ['/ip4/127.0.0.1/tcp/0']

/** A peer in another process. Disposing it ends the process and removes its key. */
export interface RemotePeer extends AsyncDisposable {
  readonly pid: number
  /** What `errand invite` prints there: `peer.join(ticket)` lets us in. */
  readonly ticket: string
}

/** Starts a peer called `name` in a process of its own. Resolves when it can be joined. */
export async function startPeer(name: string): Promise<RemotePeer> {
  const home = await mkdtemp(join(tmpdir(), `errand-${name}-`))
  const child = fork(import.meta.filename, [name, home], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const exited = once(child, 'exit')
  const [ticket] = await Promise.race([
    once(child, 'message'),
    exited.then(([code, signal]) => {
      throw new Error(`${name} did not start: it ended with ${String(signal ?? code)}`)
    }),
  ])
  return {
    pid: child.pid!,
    ticket: ticket as string,
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await exited
      await rm(home, { recursive: true, force: true })
    },
  }
}

// The other process: what `errand up` and `errand invite` do there.
if (import.meta.main) {
  const [name = 'peer', home = '.'] = process.argv.slice(2)
  const left = once(process, 'disconnect') // whoever started us let go, or is no more
  await using peer = await createPeer({ name, home, transport: libp2p({ listen, keyFile: join(home, 'key') }) })
  process.send?.(await peer.invite())
  await left
}

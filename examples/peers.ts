// Other machines for the examples. Each is a process of its own with a key of its own, and is spoken to over libp2p as
// one in the next room would be; only that it listens on 127.0.0.1.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createPeer, type Grant, type MachineDefinition } from '@errand/runtime'
import { sqlite } from '@errand/runtime/sqlite'
import { libp2p } from '@errand/transport/libp2p'

/** Where every peer of the examples listens: on this machine, any free port. */
export const listen: readonly string[] = ['/ip4/127.0.0.1/tcp/0']

/** What a peer in another process is to be. */
export interface RemotePeerOptions {
  /** Module whose export `machines` it offers. */
  readonly machines?: URL
  /** What its ticket grants. Default: connect, run:script, run:command. */
  readonly grants?: readonly Grant[]
  /** What it is told is on disk: killed and started again, it knows it. */
  readonly disk?: boolean
}

/** A peer in another process. Disposing it ends the process and removes its key. */
export interface RemotePeer extends AsyncDisposable {
  readonly pid: number
  /** What `errand invite` prints there: `peer.join(ticket)` lets whoever has it in, once. */
  readonly ticket: string
  /** One more. */
  invite(grants?: readonly Grant[]): Promise<string>
  /** `kill -9`. */
  kill(): Promise<void>
  /** Started again where it was: the same key, address and disk. */
  restart(): Promise<void>
}

interface Told {
  readonly home: string
  readonly listen: readonly string[]
  readonly machines?: string | undefined
  readonly disk?: boolean | undefined
}

/** Starts a peer called `name` in a process of its own. Resolves when it can be joined. */
export async function startPeer(name: string, options: RemotePeerOptions = {}): Promise<RemotePeer> {
  const home = await mkdtemp(join(tmpdir(), `errand-${name}-`))
  const { machines, disk } = options
  let child: ChildProcess
  let exited: Promise<unknown[]>
  const answer = async (): Promise<unknown> => {
    const [said] = await Promise.race([
      once(child, 'message'),
      exited.then(([code, signal]) => {
        throw new Error(`${name} ended with ${String(signal ?? code)}`)
      }),
    ])
    return said
  }
  const begin = async (where: readonly string[]): Promise<string[]> => {
    const told: Told = { home, listen: where, machines: machines?.href, disk }
    child = fork(import.meta.filename, [name, JSON.stringify(told)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    exited = once(child, 'exit')
    return (await answer()) as string[]
  }
  const invite = async (grants = options.grants): Promise<string> => {
    child.send({ grants })
    return (await answer()) as string
  }
  const addresses = await begin(listen)
  return {
    get pid() {
      return child.pid!
    },
    ticket: await invite(),
    invite,
    async kill() {
      child.kill('SIGKILL')
      await exited
    },
    async restart() {
      await begin(addresses.map((address) => address.replace(/\/p2p\/.*/, '')))
    },
    async [Symbol.asyncDispose]() {
      if (child.connected) child.disconnect()
      await exited
      await rm(home, { recursive: true, force: true })
    },
  }
}

// The other process: what `errand up` and `errand invite` do there.
if (import.meta.main) {
  const [name = 'peer', told = '{}'] = process.argv.slice(2)
  const { home, listen: where, machines, disk } = JSON.parse(told) as Told
  const left = once(process, 'disconnect') // whoever started us let go, or is no more
  const offered = machines === undefined ? {} : ((await import(machines)) as { machines: MachineDefinition[] })
  await using peer = await createPeer({
    name,
    home,
    ...offered,
    transport: libp2p({ listen: where, keyFile: join(home, 'key') }),
    ...(disk && { store: sqlite(join(home, 'errand.db')) }),
  })
  process.on('message', async ({ grants }: { grants?: Grant[] }) => {
    process.send?.(await peer.invite(grants && { grants }))
  })
  process.send?.(peer.addresses)
  await left
}

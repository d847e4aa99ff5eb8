// An engine that runs work in another process, as a program would use it: what it serves there, and what is called here.

import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** What is streamed. */
export interface Item {
  readonly id: number
  readonly name: string
  readonly ok: boolean
}

/** The caller's end. */
export interface Engine extends AsyncDisposable {
  /** Work that does nothing; with an input, one more than that. */
  call(input?: number): Promise<number | undefined>
  /** Work of which a record is kept, where that is another call: asked to be done, then until it has been. */
  job?(): Promise<void>
  /** Beside the time, after a turn of jobs: what was kept of them goes. */
  clear?(): Promise<void>
  /** Work that says so many items, handed to `take` one by one. */
  records?(count: number, take: (item: Item) => void): Promise<void>
}

export interface Rival {
  /** As the row says it: which, how it was set up, encrypted or not. */
  readonly name: string
  /** What it needs beside itself, started for it. */
  readonly broker?: Broker
  /** In the second process. `where`: the broker's address, or a folder of its own. Returns what `connect` needs. */
  serve(where: string): Promise<string>
  connect(address: string, where: string): Promise<Engine>
}

/** A program that stands between caller and worker: not from the npm registry, so it may not be here. */
export interface Broker {
  /** Any of these, in the PATH. */
  readonly programs: readonly string[]
  /** Where it comes from. */
  readonly hint: string
  arguments(port: number, folder: string): readonly string[]
  /** What it prints when it is ready. */
  readonly ready: string
}

export interface Running extends AsyncDisposable {
  readonly address: string
}

/** The first of them that is here. */
export function programOf({ programs }: Broker): string | undefined {
  return programs.find((program) => {
    try {
      execFileSync(program, ['--version'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })
}

/** Starts it on a port of its own. @throws Error when it ends instead of getting ready */
export async function startBroker(broker: Broker, program: string, folder: string): Promise<Running> {
  const port = await freePort()
  const child = spawn(program, broker.arguments(port, folder), { stdio: ['ignore', 'pipe', 'pipe'] })
  const exit = once(child, 'exit')
  const ready = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr]) {
      // Goes on being read: a full pipe would stop it.
      let said = ''
      stream.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-65_536)
        if (said.includes(broker.ready)) resolve()
      })
    }
  })
  const failed = exit.then(([code]) => Promise.reject(new Error(`${program} exited with ${String(code)}`)))
  await Promise.race([ready, failed])
  failed.catch(() => {}) // from now on its end is our doing
  return {
    address: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      child.kill()
      await exit
    },
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

export function* items(count: number): Generator<Item> {
  for (let id = 0; id < count; id++) yield { id, name: 'item-123', ok: true }
}

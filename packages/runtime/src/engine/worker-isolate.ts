// An isolate that is a worker thread of this process.
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads'
import * as Comlink from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import type { Isolate, LaneMessage, LaneServer, LaneWire } from './lane.ts'
import { PAGE_BYTES } from './map-page.ts'

/** From source the worker's file is TypeScript and the workspace's packages are found by their `source` condition. */
const fromSource = import.meta.url.endsWith('.ts')
const entry = new URL(fromSource ? './worker-entry.ts' : './worker-entry.js', import.meta.url)
const execArgv = fromSource ? ['--conditions=source'] : []

/** Starts a worker; who uses it holds it while it works. */
export function startWorker(): Isolate {
  const page = new SharedArrayBuffer(PAGE_BYTES)
  const worker = new Worker(entry, { execArgv, stdout: false, stderr: false, workerData: { page } })
  const { port1, port2 } = new MessageChannel()
  const server = Comlink.wrap<LaneServer>(nodeEndpoint(worker))
  void server.connect(Comlink.transfer(port2, [port2 as never]))
  let error: Error | undefined
  worker.on('error', (thrown: Error) => (error = thrown))
  const exited = new Promise<{ exitCode?: number | undefined; error?: Error | undefined }>((resolve) => {
    worker.once('exit', (exitCode) => {
      // Messages the worker had posted before it ended are still in the port: let them out first.
      setImmediate(() => {
        port1.close()
        resolve({ exitCode, error })
      })
    })
  })
  const hold = (working: boolean): void => {
    if (working) worker.ref()
    else worker.unref()
    if (working) port1.ref()
    else port1.unref()
  }
  return {
    server,
    wire: portWire(port1),
    pid: undefined,
    page,
    exited,
    hold,
    kill() {
      hold(true) // whoever ends it waits for its end
      void worker.terminate()
    },
  }
}

/** A MessagePort as a lane's wire; chunk buffers are moved, not copied, where they are whole. */
export function portWire(port: MessagePort): LaneWire {
  return {
    post(messages) {
      const moved: ArrayBuffer[] = []
      for (const message of messages) {
        const bytes = message[0] === 'chunk' ? message[4] : undefined
        if (bytes && bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer)
          moved.push(bytes.buffer)
      }
      port.postMessage(messages, moved)
    },
    receive(take) {
      port.on('message', (messages: readonly LaneMessage[]) => take(messages))
    },
  }
}

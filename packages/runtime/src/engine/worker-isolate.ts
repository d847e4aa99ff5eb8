// An isolate that is a worker thread of this process.
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads'
import * as Comlink from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { noteParts } from '../chunk-memory.ts'
import { codeOf } from '../errors.ts'
import { Claims, CLAIMS_BYTES } from './claims.ts'
import { isolateEntry, isolateFlags } from './isolate-entry.ts'
import {
  alone,
  outOfMemory,
  type Isolate,
  type IsolateEnd,
  type LaneMessage,
  type LaneServer,
  type LaneWire,
} from './lane.ts'
import { PAGE_BYTES } from './map-page.ts'

/** What a worker shares with its peer. */
export interface WorkerMemory {
  readonly page: SharedArrayBuffer
  readonly claims: SharedArrayBuffer
}

/** Starts a worker; who uses it holds it while it works. `maxMemory`: MiB of heap, then it ends. */
export function startWorker({ maxMemory }: { maxMemory?: number | undefined } = {}): Isolate {
  const resourceLimits = maxMemory === undefined ? {} : { maxOldGenerationSizeMb: maxMemory }
  const page = new SharedArrayBuffer(PAGE_BYTES)
  const claims = new SharedArrayBuffer(CLAIMS_BYTES)
  const worker = new Worker(isolateEntry('worker-entry'), {
    execArgv: [...isolateFlags],
    stdout: false,
    stderr: false,
    resourceLimits,
    workerData: { page, claims } satisfies WorkerMemory,
  })
  const { port1, port2 } = new MessageChannel()
  const server = Comlink.wrap<LaneServer>(nodeEndpoint(worker))
  void server.connect(Comlink.transfer(port2, [port2 as never]))
  let error: Error | undefined
  let killed = false
  worker.on('error', (thrown: Error) => (error = thrown))
  const exited = new Promise<IsolateEnd>((resolve) => {
    worker.once('exit', (exitCode) => {
      // Messages the worker had posted before it ended are still in the port: let them out first.
      setImmediate(() => {
        port1.close()
        const starved = codeOf(error) === 'ERR_WORKER_OUT_OF_MEMORY'
        resolve({ exitCode, error, ...(starved && { why: outOfMemory(maxMemory) }) })
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
    claims: new Claims(claims),
    exited,
    hold,
    get killed() {
      return killed
    },
    kill() {
      killed = true
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
      const sent = messages.map((message) =>
        message.map((part) => {
          if (!(part instanceof Uint8Array)) return part
          const bytes = alone(part)
          if (message[0] === 'chunk' && bytes.buffer instanceof ArrayBuffer) moved.push(bytes.buffer)
          return bytes
        }),
      )
      port.postMessage(sent, moved)
    },
    receive(take) {
      port.on('message', (messages: readonly LaneMessage[]) => {
        for (const message of messages) noteParts(message)
        take(messages)
      })
    },
  }
}

// What runs in a worker thread: a script host, exposed by Comlink.
import { parentPort, workerData, type MessagePort } from 'node:worker_threads'
import * as Comlink from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { Claims } from './claims.ts'
import { IsolateSession } from './isolate-session.ts'
import { serveLane, type LaneCommand, type LaneServer } from './lane.ts'
import { ScriptHost } from './script-host.ts'
import { portWire, type WorkerMemory } from './worker-isolate.ts'

if (!parentPort) throw new Error('this file runs in a worker thread')

let served: LaneServer | undefined
const server: LaneServer = {
  connect(port) {
    const wire = portWire(port as MessagePort)
    const session = new IsolateSession((value) => wire.post([['link', 0, value]]))
    const { page, claims } = workerData as WorkerMemory
    const host = new ScriptHost({ session: (spec) => session.open(spec), ownsProcess: false, page })
    served = serveLane(host, wire, {
      onLink: (_, value) => session.deliver(value),
      claims: new Claims(claims),
      rests: () => process.getActiveResourcesInfo().length <= own,
    })
    // Timers, sockets and the like of a script would come to these.
    const own = process.getActiveResourcesInfo().length
  },
  perform(commands: readonly LaneCommand[]) {
    served?.perform(commands)
  },
}
Comlink.expose(server, nodeEndpoint(parentPort))

// What runs in a child process: a script host, or a pool of threads, served over the pipe on its own descriptor.
import { Socket } from 'node:net'
import { acceptPipe, type Channel } from '@errand/transport'
import * as Comlink from 'comlink'
import type { Engine } from './engine.ts'
import { IsolateSession } from './isolate-session.ts'
import { LaneChannel, serveLane, type LaneServer } from './lane.ts'
import { LANE, LANE_FD, pipeLane } from './process-isolate.ts'
import { ScriptHost } from './script-host.ts'
import { ThreadEngine } from './thread.ts'
import { warming } from './warm-up.ts'

const serves = process.argv[2]
// Scripts see a program of their own, not ours.
process.argv.splice(1)
delete process.env['NODE_CHANNEL_FD']

const lane = pipeLane(acceptPipe(new Socket({ fd: LANE_FD }), LANE))
// The host is gone: nobody is left to work for.
void lane.drained.then(() => process.exit(1))

const relays = new Map<number, LaneChannel>()
let lastRelay = 0
const session = new IsolateSession((value) => lane.wire.post([['link', 0, value]]))
const engine: Engine =
  serves === 'threads'
    ? new ThreadEngine({ openLink: relay })
    : warming(new ScriptHost({ session: (spec) => session.open(spec), ownsProcess: true }))

const server: LaneServer = serveLane(engine, lane.wire, {
  many: serves === 'threads',
  onLink(n, value) {
    if (n === 0) session.deliver(value)
    else relays.get(n)?.deliver(value)
  },
})
Comlink.expose(server, lane.endpoint)

/** A thread's requests to its session go on to the host, each thread under a number of its own. */
function relay(inner: Channel): void {
  const n = ++lastRelay
  const outer = new LaneChannel('host', (value) => lane.wire.post([['link', n, value]]))
  relays.set(n, outer)
  void pass(inner, outer)
  void pass(outer, inner).then(() => relays.delete(n))
}

async function pass(from: Channel, to: Channel): Promise<void> {
  try {
    for await (const value of from) await to.send(value)
  } catch {
    // The one that broke has ended; the other follows.
  }
  to.abort()
}

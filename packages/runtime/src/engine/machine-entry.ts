// What runs in the process of a machine. An entry of its own: what it loads, XState first of all, no other isolate needs.
import { Socket } from 'node:net'
import { acceptPipe } from '@errand/transport'
import * as Comlink from 'comlink'
import { LaneChannel, serveLane } from './lane.ts'
import { MachineIsolate } from './machine-isolate.ts'
import { LANE, LANE_FD, pipeLane } from './process-isolate.ts'

// Machines see a program of their own, not ours.
process.argv.splice(1)
delete process.env['NODE_CHANNEL_FD']

const lane = pipeLane(acceptPipe(new Socket({ fd: LANE_FD }), LANE))
// The host is gone: nobody is left to work for.
void lane.drained.then(() => process.exit(1))

const channel = new LaneChannel('host', (value) => {
  lane.wire.post([['link', 0, value]])
  return lane.wire.left
})
const machine = new MachineIsolate(channel)
const server = serveLane(machine, lane.wire, { onLink: (_, value) => channel.deliver(value) })
Comlink.expose(server, lane.endpoint)

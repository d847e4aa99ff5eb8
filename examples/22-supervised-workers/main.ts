// Two workers on two servers, supervised from here. One server is killed: its worker is started again on the other one, and the
// ref that follows it goes on.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { startPeer } from '../peers.ts'
import { worker } from './worker.ts'

const offered = { machines: new URL('./worker.ts', import.meta.url), grants: ['connect', 'spawn:worker'] } as const
await using server01 = await startPeer('server01', offered)
await using server02 = await startPeer('server02', offered)
await using peer = await createPeer({ name: 'laptop', transport: libp2p() })
await peer.join(server01.ticket)
await peer.join(server02.ticket)

await using workers = await peer.supervise({
  name: 'workers',
  children: [
    { id: 'one', machine: worker, on: ['server01', 'server02'] },
    { id: 'two', machine: worker, on: ['server02', 'server01'] },
  ],
})
await workers.ready()
const places = (): string =>
  workers
    .getSnapshot()
    .children.map(({ id, state, on }) => `${id} ${state} on ${on}`)
    .join(', ')
console.log(`at first: ${places()}`)

const one = await workers.child('one')
await one.tell({ type: 'task', n: 1 })
const monitor = peer.monitor(one)

const killed = performance.now()
await server01.kill()
const down = await monitor.down
const after = (): string => `${((performance.now() - killed) / 1000).toFixed(0)} s after the kill`
console.log(`${after()}: one is down, ${down.reason}`)
for await (const { children } of workers.watch()) {
  if (children[0]!.state === 'running' && children[0]!.on === 'server02') break
}
console.log(`then: ${places()}`)

// The same ref: what it means is another actor now.
await one.tell({ type: 'task', n: 2 })
const answer = await one.ask<string>({ type: 'who' })
console.log(
  'one is',
  answer.outcome === 'ok' ? answer.value.replace(/process \d+ on .*, /, 'another one, ') : answer.error,
)

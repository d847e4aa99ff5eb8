// A statechart on server01 asks for something. The laptop has started it and watches; the boss, a peer of its own, is given its
// address and answers. Both drive it by the same ref that XState knows from at home.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { toPromise } from 'xstate'
import { startPeer } from '../peers.ts'
import { approval } from './approval.ts'

await using server01 = await startPeer('server01', {
  machines: new URL('./approval.ts', import.meta.url),
  grants: ['connect', 'spawn:approval'],
})
await using laptop = await createPeer({ name: 'laptop', transport: libp2p() })
await laptop.join(server01.ticket)

// It runs there: a job like any other, of type MachineJob.
const session = await laptop.connect('server01')
const request = await session.spawn(approval, {
  input: { what: 'a new laptop', within: 60_000 },
  name: 'request',
})
const [job] = await session.jobs()
console.log(`server01 runs ${job!.name}: ${job!.type} ${job!.state}; it is ${request.getSnapshot().value}`)
request.select(({ context }) => context.by).subscribe((by) => console.log(`laptop sees: answered by ${by}`))

// A ref is an address, plain data: it could go by mail. Whoever has it may use it as far as the grants go: to look at actors of
// others and to send to them is granted apart.
const mail = JSON.stringify(request.address)
await using boss = await createPeer({ name: 'boss', transport: libp2p() })
await boss.join(await server01.invite(['connect', 'jobs:read', 'jobs:send']))
const asked = await boss.ref<typeof approval>(JSON.parse(mail))
const words = await asked.ask<string>({ type: 'what is asked' })
console.log(`boss is asked: ${words.outcome === 'ok' ? words.value : words.error.message}`)

// What does not fit is refused where it arrives, and changes nothing.
await asked.tell({ type: 'approve', by: '' }).catch((error: Error & { code: string }) => {
  console.log(`boss is told: ${error.code}`)
})
await asked.tell({ type: 'approve', by: 'the boss' })

console.log('its output:', await toPromise(request))

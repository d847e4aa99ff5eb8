// An order on server01, which is killed twice: in the middle of the order, and while a deadline is running. Each time it is
// started again the order is where it was, and the ref here goes on by itself.
import { createPeer } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { toPromise, waitFor } from 'xstate'
import { startPeer } from '../peers.ts'
import { order } from './order.ts'

await using server01 = await startPeer('server01', {
  machines: new URL('./order.ts', import.meta.url),
  grants: ['connect', 'spawn:order'],
  disk: true,
})
await using peer = await createPeer({ name: 'laptop', transport: libp2p() })
await peer.join(server01.ticket)

// In our standing session there: it waits for us however long we are away.
const session = await peer.home('server01')
const mine = await session.spawn(order)
const show = (when: string): void => {
  const { value, context } = mine.getSnapshot()
  console.log(`${when}: ${value}, ${context.items.join(', ')}${context.parcel ? `; ${context.parcel}` : ''}`)
}
// Told: it is on disk.
await mine.tell({ type: 'add', item: 'a book' })
await mine.tell({ type: 'add', item: 'a lamp' })

await server01.kill()
await server01.restart()
await mine.tell({ type: 'add', item: 'a pen' })
await waitFor(mine, ({ context }) => context.items.length === 3)
show('killed in the middle')

await mine.tell({ type: 'pay', amount: 42 })
await waitFor(mine, ({ value }) => value === 'cooling')
const due = performance.now() + 3_000
show('paid')

await server01.kill()
await new Promise((resolve) => setTimeout(resolve, 1_000))
await server01.restart()
const output = await toPromise(mine)
const late = (performance.now() - due) / 1000
console.log('its output:', output)
console.log(`its deadline was kept: ${late > -0.1 && late < 5}`)

// Refs are passed on: Ann and Bob each have an actor of their own on their own peer and give a room on server01 its ref; the
// room speaks to both, and Bob to Ann without the room, once he has been given her ref.
import { createPeer, type Peer, type Ref } from '@errand/runtime'
import { libp2p } from '@errand/transport/libp2p'
import { waitFor } from 'xstate'
import { listen, startPeer } from '../peers.ts'
import { guest, room } from './chat.ts'

await using server01 = await startPeer('server01', {
  machines: new URL('./chat.ts', import.meta.url),
  grants: ['connect', 'run:script', 'spawn:room', 'jobs:read', 'jobs:send'],
})

async function comes(name: string): Promise<Peer> {
  const peer = await createPeer({ name, machines: [guest], transport: libp2p({ listen }) })
  await peer.join(name === 'Ann' ? server01.ticket : await server01.invite())
  // The room is to be let in here, to speak to our actor, and to do nothing else.
  const [there] = await peer.peers()
  await peer.allow(there!.id, ['connect', 'jobs:send'])
  return peer
}
await using ann = await comes('Ann')
await using bob = await comes('Bob')

const annIs = await ann.spawn(guest)
const bobIs = await bob.spawn(guest)
// Who hears it first is anybody's guess: each is waited for in turn.
async function hears(who: string, ref: Ref<typeof guest>, count: number): Promise<void> {
  const { context } = await waitFor(ref, (seen) => seen.context.heard.length >= count)
  console.log(`${who} hears "${context.heard[count - 1]}"`)
}

const session = await ann.connect('server01')
const hall = await session.spawn(room, { register: 'hall' })
// A ref in an event arrives as an address.
await hall.tell({ type: 'enter', name: 'Ann', guest: annIs.address })
await hears('Ann', annIs, 1)
const hallOfBob = await bob.whereis('hall', { on: 'server01' })
await hallOfBob.tell({ type: 'enter', name: 'Bob', guest: bobIs.address })
await hears('Ann', annIs, 2)
await hears('Bob', bobIs, 1)
hall.send({ type: 'say', name: 'Ann', text: 'hello Bob' })
await hears('Ann', annIs, 3)
await hears('Bob', bobIs, 2)
console.log('in the hall:', hall.getSnapshot().context.guests.join(' and '))

// The same ref in Bob's hands, past the room. He is let in at Ann's; to speak to her actor is granted apart, and can be taken
// back: from then on it is refused, over the link that is open too.
await bob.join(await ann.invite({ grants: ['connect'] }))
const whisper = async (text: string): Promise<void> => {
  using annForBob = await bob.ref(annIs.address, { definition: guest })
  await annForBob.tell({ type: 'hear', text }).then(
    () => console.log(`Bob whispers "${text}"`),
    (error: Error & { code: string }) => console.log(`Bob may not whisper: ${error.code}`),
  )
}
await whisper('psst')
await ann.allow(bob.id, ['connect', 'jobs:read', 'jobs:send'])
await whisper('now')
await hears('Ann', annIs, 4)
await ann.allow(bob.id, ['connect'])
await whisper('still there?')

// @errand/transport alone: values over channels between two processes, without a job in sight.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { libp2p } from '@errand/transport/libp2p'
import { protocols } from './protocols.ts'

await using transport = libp2p()
await transport.start({ protocols, admits: () => true, accept: (channel) => channel.abort() })

const server = fork(new URL('./server.ts', import.meta.url), [transport.id])
const [[address]] = (await once(server, 'message')) as [string[]]

// The address says whose it is: nobody else can answer there.
const channel = await transport.open(address!, '/example/squares/1')
for (const n of [3n, 2n ** 70n]) await channel.send(n)
await channel.end()
for await (const answer of channel) {
  const { n, square, at } = answer as { n: bigint; square: bigint; at: Date }
  console.log(`${n}² = ${square}   ${at.constructor.name}`)
}
console.log('ended in order:', await channel.closed)

// What cannot travel is refused here, with the place; the channel lives on.
const second = await transport.open(channel.peer, '/example/squares/1')
await second.send({ rows: [{ onClick() {} }] }).catch((error: Error) => console.log(`refused: ${error.message}`))

// A protocol that this peer is not allowed.
await transport.open(channel.peer, '/example/secrets/1').catch((error: Error & { code: string }) => {
  console.log(`${error.code}: ${error.message}`)
})

// The other process dies: the channel says so, and nothing waits for ever.
server.kill('SIGKILL')
const { error } = await second.closed
console.log(`the end: ${(error as Error & { code: string }).code}`)

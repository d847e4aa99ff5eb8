// No engine: a round trip of a bare stream of the same libp2p node that errand runs, to see what is left to gain.

import { multiaddr } from '@multiformats/multiaddr'
import { ECHO, bareNode } from '../bare-node.ts'
import { MESSAGE, roundTrip, streamWire } from '../transport/wire.ts'
import type { Rival } from './rival.ts'

export const echo: Rival = {
  name: 'a round trip of a bare libp2p stream, 100 bytes, encrypted',

  async serve() {
    const node = await bareNode(['/ip4/127.0.0.1/tcp/0'])
    await node.handle(ECHO, (stream) => {
      stream.addEventListener('message', (event) => {
        stream.send((event as unknown as { data: Uint8Array }).data)
      })
    })
    return String(node.getMultiaddrs()[0])
  },

  async connect(address) {
    const node = await bareNode()
    const stream = streamWire(await node.dialProtocol(multiaddr(address), ECHO))
    const message = new Uint8Array(MESSAGE)
    return {
      // It adds nothing: what comes back is what was sent.
      async call(input) {
        await roundTrip(stream, message)
        return input === undefined ? undefined : input + 1
      },
      [Symbol.asyncDispose]: async () => node.stop(),
    }
  },
}

// A channel over a pipe between two processes of one machine: a parent and the child it has started. No names, no
// addresses, no policy — who holds the other end is who was given it.

import type { Duplex } from 'node:stream'
import { FramedChannel } from './channel.ts'
import { ProtocolError } from './errors.ts'
import { SocketDuplex } from './socket-duplex.ts'
import type { Cancel, Channel, Protocol } from './transport.ts'

/** What the peer of a pipe is called. */
const PEER = 'pipe'

/**
 * Opens the one channel that a pipe carries, over a stream that it owns from here on (`child.stdio[3]`, say). Resolves
 * when the other side has taken it with `acceptPipe`, however long that takes: a child that ends before ends the pipe.
 * @throws PeerUnreachableError, ProtocolError, the signal's reason
 */
export async function openPipe(stream: Duplex, protocol: Protocol, options: Cancel = {}): Promise<Channel> {
  const channel = new FramedChannel(new SocketDuplex(stream), PEER, { opens: protocol, patient: true })
  await channel.opened(options)
  return channel
}

/**
 * The other side of `openPipe` (`new Socket({ fd: 3 })` in the child). Resolves when the opener has said hello.
 * @throws PeerUnreachableError, ProtocolError, the signal's reason
 */
export async function acceptPipe(stream: Duplex, protocol: Protocol, options: Cancel = {}): Promise<Channel> {
  const channel = new FramedChannel(new SocketDuplex(stream), PEER, {
    admit(name) {
      if (name !== protocol.name) throw new ProtocolError(`this pipe speaks ${protocol.name}, not ${name}`)
      return protocol
    },
    accept: () => {},
    patient: true,
  })
  await channel.opened(options)
  return channel
}

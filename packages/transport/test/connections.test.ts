// Which connections to a peer are dropped with one on which it has fallen silent. Connections that a test makes up.
import { expect, test } from 'vitest'
import type { Connection, Libp2p, PeerId as NodeId } from '@libp2p/interface'
import { Connections } from '../src/connections.ts'

const peer = { toString: () => 'b' } as NodeId

test('with a silent one go those that came before it, never the one over which the peer is back, whatever the clock says', () => {
  const all: Connection[] = []
  const node = Object.assign(new EventTarget(), { getConnections: () => all }) as unknown as Libp2p
  const connections = new Connections({ node, id: 'c', protocols: new Set(), idle: 60_000, onOpen: () => undefined })
  const dropped: unknown[] = []
  /** Another one, at this time of day. */
  const opens = (open: number): Connection => {
    const one = {
      remotePeer: peer,
      direction: 'outbound',
      status: 'open',
      streams: [],
      timeline: { open },
      abort: () => void dropped.push(one),
    } as unknown as Connection
    all.push(one)
    node.dispatchEvent(new CustomEvent('connection:open', { detail: one }) as never)
    return one
  }
  const [oldest, silent, back] = [opens(2_000), opens(1_000), opens(500)] as const
  connections.forsake(silent, new Error('silent'))
  expect(new Set(dropped)).toEqual(new Set([oldest, silent]))
  expect(dropped).not.toContain(back)
  connections.stop()
})

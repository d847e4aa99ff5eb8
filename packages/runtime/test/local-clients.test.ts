// Programs beside a daemon: all of them come as the same peer, over its socket.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { connectLocal } from '../src/client.ts'
import { codeOf, createPeer } from '../src/index.ts'
import { refusal } from './support/peers.ts'
import { LOCAL_LINKS } from '../src/wire.ts'

test('128 of them at once are served; the next one hears why it is not, and comes in when one has gone', async () => {
  const home = await mkdtemp(join(tmpdir(), 'errand-'))
  const daemon = await createPeer({ name: 'daemon', home, serveLocal: true })
  const clients = await Promise.all(Array.from({ length: LOCAL_LINKS }, () => connectLocal({ home })))
  try {
    const names = await Promise.all(clients.map(async (client) => (await client.status()).name))
    expect(new Set(names)).toEqual(new Set(['daemon']))
    const error = await refusal('one more', () => connectLocal({ home }))
    expect(codeOf(error), error.message).toBe('DENIED')
    await clients.pop()!.close()
    clients.push(await connectLocal({ home }))
  } finally {
    await Promise.all(clients.map((client) => client.close()))
    await daemon.close()
    await rm(home, { recursive: true })
  }
})

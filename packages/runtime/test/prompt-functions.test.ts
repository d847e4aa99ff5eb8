// Functions that are started from a prompt or `-e`: what is in scope there is in scope in them.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createPeer, type Peer } from '../src/index.ts'

let peer: Peer
beforeAll(async () => {
  peer = await createPeer({ name: 'prompt' })
})
afterAll(() => peer.close())

it('use the built-in modules and the prompt’s own names', async () => {
  const code = `await (await start(async function* () { yield os.platform(); await sleep(1); yield path.basename('/a/b') })).output()`
  expect(await peer.run({ code })).toEqual([process.platform, 'b'])
})

it('are refused what neither the prompt nor its runspace has', async () => {
  await expect(peer.run({ code: 'const own = 1; await start(() => own)' })).rejects.toMatchObject({
    code: 'FREE_VARIABLE',
  })
})

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

it('ask, read what they are given, and answer and feed others', async () => {
  const asking =
    "const one = await start(async function* () { yield await ask('sure?'); for await (const v of input) yield v })"
  const code = `${asking}; await one.wait({ for: ['Blocked'] }); await answer(one, 'yes'); await send(one, 7); await one.endInput(); return await output(one)`
  expect(await peer.run({ code })).toEqual([['yes', 7]])
  const job = await peer.start({ code: 'for await (const value of input) yield value * 2' }, { input: [1, 2] })
  expect(await job.output()).toEqual([2, 4])
})

it('may be declared anew by a line that wants one of them for itself', async () => {
  const lines = ['const input = 1', 'let answer = input + 1', 'answer + input']
  let last: unknown
  for (const line of lines) last = await peer.run({ line })
  expect(last).toBe(3)
})

it('make errors that say where in the line, and nothing of who ran it', async () => {
  const made = (await peer.run({ line: 'const fail = () => new Error("made")\nfail()' })) as unknown as Error
  expect(made.stack).toMatch(/^Error: made\n {4}at fail \(errand:script:1:\d+\)\n {4}at errand:script:2:\d+$/)
})

it('are refused what neither the prompt nor its runspace has', async () => {
  await expect(peer.run({ code: 'const own = 1; await start(() => own)' })).rejects.toMatchObject({
    code: 'FREE_VARIABLE',
  })
})

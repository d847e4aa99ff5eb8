// Functions whose text a loader has rewritten: under tsx in a process of its own, under vitest right here.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPeer, type Peer } from '../src/index.ts'

const refused = (name: string): unknown => [
  'FREE_VARIABLE',
  expect.stringMatching(new RegExp(`\`${name}\`[^]*(using|inside)`)),
]

describe('under tsx', () => {
  it('a free variable is refused by name, and what is whole runs', async () => {
    const tsx = createRequire(import.meta.url).resolve('tsx')
    const program = fileURLToPath(new URL('./fixtures/loader-program.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=source', '--import', tsx, program])
    expect(JSON.parse(stdout)).toEqual({
      free: refused('limit'),
      imported: refused('readFileSync'),
      using: 6,
      nested: 8,
    })
  })
})

describe('under vitest', () => {
  let peer: Peer
  beforeAll(async () => {
    peer = await createPeer({ name: 'vitest' })
  })
  afterAll(() => peer.close())
  const limit = 5

  it('a free variable is refused before anything is sent', async () => {
    await expect(peer.run(() => limit + 1)).rejects.toMatchObject({
      code: 'FREE_VARIABLE',
      names: ['limit'],
      message: expect.stringContaining('using: { limit }'),
    })
    expect(await peer.run(() => limit + 1, { using: { limit } })).toBe(6)
  })
  it('an import, which vitest has rewritten, is explained', async () => {
    const run = peer.run(() => readFileSync('/etc/hostname', 'utf8'))
    await expect(run).rejects.toMatchObject({ code: 'FREE_VARIABLE', message: expect.stringContaining('readFileSync') })
    expect(await peer.run(async () => typeof (await import('node:fs')).readFileSync)).toBe('function')
  })
})

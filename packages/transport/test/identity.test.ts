import { chmod, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createIdentity, loadIdentity, verify } from '../src/identity.ts'
import { failing } from './suites/transport.suite.ts'

async function directory(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'errand-identity-'))
  onTestFinished(() => rm(made, { recursive: true, force: true }))
  return made
}

describe('an identity', () => {
  test('is its seed: the same seed, the same id; another, another', async () => {
    const seed = new Uint8Array(32).fill(1)
    const one = await createIdentity(seed)
    expect(one.id).toMatch(/^12D3KooW/)
    expect((await createIdentity(seed)).id).toBe(one.id)
    expect((await createIdentity(one.seed)).id).toBe(one.id)
    expect((await createIdentity()).id).not.toBe((await createIdentity()).id)
    await expect(createIdentity(new Uint8Array(31))).rejects.toEqual(failing('MALFORMED'))
  })

  test('signs what its id alone verifies', async () => {
    const [alice, eve] = await Promise.all([createIdentity(), createIdentity()])
    const bytes = new TextEncoder().encode('I, Alice')
    const signature = await alice.sign(bytes)
    expect(await verify(alice.id, bytes, signature)).toBe(true)
    expect(await verify(eve.id, bytes, signature)).toBe(false)
    expect(await verify(alice.id, new TextEncoder().encode('I, alice'), signature)).toBe(false)
    expect(await verify(alice.id, bytes, signature.slice(1))).toBe(false)
    expect(await verify('nobody', bytes, signature)).toBe(false)
  })

  test('signs nothing that could pass in a handshake: the bare key does not verify', async () => {
    const alice = await createIdentity()
    const bytes = new TextEncoder().encode('libp2p-tls-handshake:…')
    const { generateKeyPairFromSeed } = await import('@libp2p/crypto/keys')
    const key = await generateKeyPairFromSeed('Ed25519', alice.seed)
    expect(await key.publicKey.verify(bytes, await alice.sign(bytes))).toBe(false)
    expect(await verify(alice.id, bytes, await key.sign(bytes))).toBe(false)
  })
})

describe('a key file', () => {
  test('is made once, 0600 in a directory 0700, in libp2p form, and read ever after', async () => {
    const home = join(await directory(), 'a', 'home')
    const keyFile = join(home, 'key')
    const made = await loadIdentity(keyFile)
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600)
    expect((await stat(home)).mode & 0o777).toBe(0o700)
    expect(privateKeyFromProtobuf(await readFile(keyFile)).type).toBe('Ed25519')
    const read = await loadIdentity(keyFile)
    expect([read.id, [...read.seed]]).toEqual([made.id, [...made.seed]])
    expect(await readdir(home)).toEqual(['key'])
  })

  test('made by several at the same time is one key for all', async () => {
    const home = await directory()
    const all = await Promise.all(Array.from({ length: 16 }, () => loadIdentity(join(home, 'key'))))
    expect(new Set(all.map(({ id }) => id)).size).toBe(1)
    expect(await readdir(home)).toEqual(['key'])
  })

  test('that others may read is refused, with what to do', async () => {
    const keyFile = join(await directory(), 'key')
    await loadIdentity(keyFile)
    await chmod(keyFile, 0o640)
    await expect(loadIdentity(keyFile)).rejects.toEqual(
      expect.objectContaining({ code: 'DENIED', hint: expect.stringContaining('chmod 600') as string }),
    )
  })

  test('that holds anything else is MALFORMED, and left as it is', async () => {
    const keyFile = join(await directory(), 'key')
    const other = privateKeyToProtobuf(await generateKeyPair('secp256k1'))
    for (const content of [new Uint8Array(0), new Uint8Array([1, 2, 3]), other]) {
      await writeFile(keyFile, content, { mode: 0o600 })
      await expect(loadIdentity(keyFile)).rejects.toEqual(failing('MALFORMED'))
      expect(Buffer.compare(await readFile(keyFile), content)).toBe(0)
    }
  })
})

// Who a peer is: an Ed25519 key pair. Its id is libp2p's peer id, which holds the whole public key.

import { randomUUID } from 'node:crypto'
import { link, mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import {
  generateKeyPair,
  generateKeyPairFromSeed,
  privateKeyFromProtobuf,
  privateKeyToProtobuf,
} from '@libp2p/crypto/keys'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { DeniedError, MalformedError } from './errors.ts'
import type { PeerId } from './transport.ts'

/** A key pair. Whoever has the seed is this peer. */
export interface Identity {
  readonly id: PeerId
  /** 32 bytes from which the pair is made. Secret. */
  readonly seed: Uint8Array
  /** Signs bytes as errand's; checked by `verify`. */
  sign(bytes: Uint8Array): Promise<Uint8Array>
}

/** Bytes of a seed (RFC 8032, 5.1.5). */
const SEED_BYTES = 32
/** So that a signature given here can never pass for one that the same key gives in a TLS or noise handshake. */
const DOMAIN = new TextEncoder().encode('errand-signature:')

/** A new identity, or the one of `seed` (32 bytes). */
export async function createIdentity(seed?: Uint8Array): Promise<Identity> {
  if (seed !== undefined && seed.length !== SEED_BYTES) throw new MalformedError(`a seed has ${SEED_BYTES} bytes`)
  return identityOf(await (seed ? generateKeyPairFromSeed('Ed25519', seed) : generateKeyPair('Ed25519')))
}

/**
 * The identity kept in `keyFile`; made on first use, the file 0600 and its directory 0700, in libp2p's protobuf form.
 * Of several processes that make it at the same time, all get the one that stays.
 * @throws MalformedError when the file holds anything else, DeniedError when others may read it
 */
export async function loadIdentity(keyFile: string): Promise<Identity> {
  const kept = await readKey(keyFile)
  if (kept !== undefined) return kept
  await mkdir(dirname(keyFile), { recursive: true, mode: 0o700 })
  const key = await generateKeyPair('Ed25519')
  const draft = `${keyFile}.${process.pid}.${randomUUID()}`
  try {
    await using file = await open(draft, 'wx', 0o600)
    await file.writeFile(privateKeyToProtobuf(key))
    // On disk before it has its name: a key that is lost in a power cut is another peer afterwards.
    await file.sync()
    await link(draft, keyFile)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(draft, { force: true })
  }
  return (await readKey(keyFile))!
}

/** Whether `id` gave this signature (with `Identity.sign`) over these bytes. A malformed id or signature is a no. */
export async function verify(id: PeerId, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
  try {
    const { publicKey } = peerIdFromString(id)
    return publicKey !== undefined && (await publicKey.verify(inDomain(bytes), signature))
  } catch {
    return false
  }
}

/** The pair itself, for libp2p. */
export function privateKeyOf(identity: Identity): Promise<Ed25519PrivateKey> {
  return generateKeyPairFromSeed('Ed25519', identity.seed)
}

async function readKey(keyFile: string): Promise<Identity | undefined> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(keyFile)
    if (process.platform !== 'win32') await checkMode(keyFile)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const key = privateKeyFromProtobuf(bytes)
    if (key.type === 'Ed25519') return identityOf(key)
  } catch (error) {
    throw new MalformedError(`${keyFile} does not hold a key`, { cause: error })
  }
  throw new MalformedError(`${keyFile} does not hold an Ed25519 key`)
}

async function checkMode(keyFile: string): Promise<void> {
  const { mode } = await stat(keyFile)
  if ((mode & 0o077) === 0) return
  throw new DeniedError(`${keyFile} can be read by others (mode ${(mode & 0o777).toString(8)})`, {
    hint: `chmod 600 ${keyFile}, or remove it to get a new identity`,
  })
}

function identityOf(key: Ed25519PrivateKey): Identity {
  return {
    id: peerIdFromPrivateKey(key).toString(),
    seed: key.raw.slice(0, SEED_BYTES),
    sign: async (bytes) => key.sign(inDomain(bytes)),
  }
}

function inDomain(bytes: Uint8Array): Uint8Array {
  const all = new Uint8Array(DOMAIN.length + bytes.length)
  all.set(DOMAIN)
  all.set(bytes, DOMAIN.length)
  return all
}

// Who is at the other end of a TLS connection, by libp2p's rules (https://github.com/libp2p/specs/blob/master/tls/tls.md):
// both ends show a self-signed certificate of a key made for the purpose, and in it an extension where the peer's own
// key vouches for that one. TLS proves who holds the certificate's key, the extension whose it is.

import { type KeyObject, X509Certificate, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { publicKeyFromProtobuf, publicKeyToProtobuf } from '@libp2p/crypto/keys'
import {
  InvalidCryptoExchangeError,
  type PeerId,
  type PrivateKey,
  type PublicKey,
  UnexpectedPeerError,
} from '@libp2p/interface'
import { peerIdFromPublicKey } from '@libp2p/peer-id'

/** A certificate and its private key, both PEM, as node:tls takes them. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** 1.3.6.1.4.1.53594.1.1, libp2p's public key extension. */
const EXTENSION = Buffer.from('060a2b0601040183a25a0101', 'hex')
/** 1.2.840.10045.4.3.2, ecdsa-with-SHA256 (RFC 5758, 3.2). */
const ECDSA_SHA256 = Buffer.from('300a06082a8648ce3d040302', 'hex')
/** Signatures a certificate may have, by the content of their object identifier: none over MD5 or SHA-1 (the spec). */
const SIGNATURES: ReadonlySet<string> = new Set([
  '2a8648ce3d040302', // ecdsa-with-SHA256, 384, 512 (RFC 5758, 3.2)
  '2a8648ce3d040303',
  '2a8648ce3d040304',
  '2a864886f70d01010b', // sha256WithRSAEncryption, 384, 512 (RFC 4055, 5)
  '2a864886f70d01010c',
  '2a864886f70d01010d',
  '2b6570', // Ed25519 (RFC 8410, 3)
])
const MIN_RSA_BITS = 2048
/** What is signed begins with this, so that it can be mistaken for nothing else. */
const PREFIX = Buffer.from('libp2p-tls-handshake:')
/**
 * A certificate is valid whatever the time of day is thought to be at the other end: it is made for one run of one process,
 * and proves what it proves by a signature that no date is part of. These are the years of rust-libp2p's.
 */
const VALID_FROM = Date.UTC(1975, 0)
const VALID_TO = Date.UTC(4096, 0)
/** Far more than any certificate of the kind: RSA-8192, the largest key libp2p takes, makes one of 4 KiB. */
const MAX_CERTIFICATE = 16_384

// Tags of DER (X.690, 8.1.2).
const BOOLEAN = 0x01
const INTEGER = 0x02
const BIT_STRING = 0x03
const OCTET_STRING = 0x04
const OBJECT_IDENTIFIER = 0x06
const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const SEQUENCE = 0x30
const VERSION = 0xa0
const EXTENSIONS = 0xa3

/** A fresh certificate of `identity`, over a P-256 key of its own. May be used for any number of connections. */
export async function createCertificate(identity: PrivateKey): Promise<Certificate> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const keyInfo = publicKey.export({ type: 'spki', format: 'der' })
  const signature = await identity.sign(Buffer.concat([PREFIX, keyInfo]))
  const signedKey = encode(
    SEQUENCE,
    encode(OCTET_STRING, publicKeyToProtobuf(identity.publicKey)),
    encode(OCTET_STRING, signature),
  )
  const serial = randomBytes(8)
  serial[0] = (serial[0]! & 0x3f) | 0x40 // positive, and without a leading zero
  const nobody = encode(SEQUENCE)
  const certificate = encode(
    SEQUENCE,
    encode(VERSION, encode(INTEGER, Buffer.of(2))), // X.509 version 3
    encode(INTEGER, serial),
    ECDSA_SHA256,
    nobody,
    encode(SEQUENCE, encodeTime(VALID_FROM), encodeTime(VALID_TO)),
    nobody,
    keyInfo,
    encode(
      EXTENSIONS,
      encode(SEQUENCE, encode(SEQUENCE, EXTENSION, encode(BOOLEAN, Buffer.of(0xff)), encode(OCTET_STRING, signedKey))),
    ),
  )
  const bits = Buffer.concat([Buffer.of(0), sign('sha256', certificate, privateKey)]) // no unused bits
  const whole = encode(SEQUENCE, certificate, ECDSA_SHA256, encode(BIT_STRING, bits))
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${whole
      .toString('base64')
      .match(/.{1,64}/g)!
      .join('\n')}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  }
}

/**
 * Whose certificate (DER) this is. That the other end holds the certificate's key is TLS's to check; all else is done
 * here. Peers have Ed25519, secp256k1 or RSA keys; libp2p knows ECDSA too, but not here: js-libp2p has no ids for it.
 * @throws InvalidCryptoExchangeError when it is not such a certificate, not valid now, forged, or has a critical
 *   extension beside libp2p's
 * @throws UnexpectedPeerError when it is another peer's than `expected`
 */
export async function verifyCertificate(raw: Uint8Array, expected?: PeerId): Promise<PeerId> {
  if (raw.length > MAX_CERTIFICATE) throw new InvalidCryptoExchangeError('the certificate is too long')
  const { keyInfo, publicKey, peer, signature } = inspect(raw)
  if (!(await isSigned(publicKey, Buffer.concat([PREFIX, keyInfo]), signature))) {
    throw new InvalidCryptoExchangeError("the peer's key has not signed the certificate's")
  }
  if (expected !== undefined && !expected.equals(peer)) throw new UnexpectedPeerError()
  return peer
}

interface SignedKey {
  /** The certificate's own public key, as it stands there. */
  readonly keyInfo: Uint8Array
  readonly publicKey: PublicKey
  readonly peer: PeerId
  readonly signature: Uint8Array
}

function inspect(raw: Uint8Array): SignedKey {
  let certificate: X509Certificate
  let signedByItself: boolean
  try {
    certificate = new X509Certificate(raw)
    signedByItself = certificate.verify(certificate.publicKey)
  } catch {
    throw new InvalidCryptoExchangeError('the certificate cannot be read')
  }
  if (!signedByItself) throw new InvalidCryptoExchangeError('the certificate is not signed by its own key')
  const now = Date.now()
  // Written so that a time which is none is refused.
  if (!(certificate.validFromDate.getTime() <= now))
    throw new InvalidCryptoExchangeError('the certificate is not valid yet')
  if (!(certificate.validToDate.getTime() >= now)) throw new InvalidCryptoExchangeError('the certificate has expired')
  // OpenSSL has read the same bytes, and node tells neither of extensions it does not know nor which are critical.
  const [whole, ...behind] = decode(raw)
  const [content, algorithm] = decode(whole?.body ?? raw)
  if (behind.length > 0 || content === undefined || algorithm === undefined) {
    throw new InvalidCryptoExchangeError('the certificate is malformed')
  }
  if (!SIGNATURES.has(Buffer.from(first(algorithm.body).body).toString('hex'))) {
    throw new InvalidCryptoExchangeError('the certificate is signed in a way that is not allowed')
  }
  const fields = decode(content.body)
  // Behind the version: serial number, algorithm, issuer, validity, subject, key.
  const keyInfo = fields[6]
  const extensions = fields.find(({ tag }) => tag === EXTENSIONS)
  if (fields[0]?.tag !== VERSION || keyInfo?.tag !== SEQUENCE || extensions === undefined) {
    throw new InvalidCryptoExchangeError('the certificate has no extensions')
  }
  checkKey(certificate.publicKey, keyInfo)
  // Between the key and the extensions only unique ids could stand, which RFC 5280, 4.1.2.8, tells nobody to write.
  if (fields.length !== 8) throw new InvalidCryptoExchangeError('the certificate has fields that nobody writes')
  const [key, signature] = findSignedKey(first(extensions.body).body)
  try {
    const publicKey = publicKeyFromProtobuf(key!.body)
    return { keyInfo: keyInfo.whole, publicKey, peer: peerIdFromPublicKey(publicKey), signature: signature!.body }
  } catch {
    throw new InvalidCryptoExchangeError('the key in the certificate is none that peers have')
  }
}

/** The certificate's key is only what the peer's own key vouches for, but TLS stands on it. */
function checkKey(key: KeyObject, keyInfo: Part): void {
  const { modulusLength } = key.asymmetricKeyDetails ?? {}
  if (modulusLength !== undefined && modulusLength < MIN_RSA_BITS) {
    throw new InvalidCryptoExchangeError(`the certificate has an RSA key of ${modulusLength} bits`)
  }
  // OpenSSL recognizes a known curve also where its numbers are written out, which the spec forbids.
  const [, curve] = decode(first(keyInfo.body).body)
  if (key.asymmetricKeyType === 'ec' && curve?.tag !== OBJECT_IDENTIFIER) {
    throw new InvalidCryptoExchangeError('the certificate does not name its curve')
  }
}

/** The two octet strings of libp2p's extension: who is meant, and their signature. */
function findSignedKey(extensions: Uint8Array): Part[] {
  let found: Part[] | undefined
  for (const extension of decode(extensions)) {
    const [id, ...rest] = decode(extension.body)
    if (id === undefined || !EXTENSION.equals(id.whole)) {
      // DER leaves a `false` out; whoever writes it all the same means it.
      if (rest[0]?.tag !== BOOLEAN || rest[0].body.every((byte) => byte === 0)) continue
      throw new InvalidCryptoExchangeError('the certificate has a critical extension that is not known')
    }
    if (found !== undefined) throw new InvalidCryptoExchangeError('the certificate names two peers')
    const value = decode(rest.at(-1)?.body ?? new Uint8Array())
    found = value.length === 1 && value[0]!.tag === SEQUENCE ? decode(value[0]!.body) : []
    if (found.length !== 2 || !found.every(({ tag }) => tag === OCTET_STRING)) {
      throw new InvalidCryptoExchangeError("libp2p's extension of the certificate is malformed")
    }
  }
  if (found === undefined) throw new InvalidCryptoExchangeError('the certificate names no peer')
  return found
}

async function isSigned(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
  try {
    return await key.verify(bytes, signature)
  } catch {
    return false // not even the form of a signature
  }
}

/** One element of DER: its tag, its content, and both with the length between them. */
interface Part {
  readonly tag: number
  readonly body: Uint8Array
  readonly whole: Uint8Array
}

/** The elements that stand one after the other in `bytes`. @throws InvalidCryptoExchangeError */
function decode(bytes: Uint8Array): Part[] {
  const parts: Part[] = []
  for (let at = 0; at < bytes.length;) {
    const tag = bytes[at]!
    let length = bytes[at + 1] ?? Number.NaN
    let start = at + 2
    if (length > 0x80) {
      // X.690, 8.1.3.5: so many bytes of length follow. Two are enough for MAX_CERTIFICATE, and three say more.
      const digits = length & 0x7f
      length = digits > 2 ? Number.NaN : 0
      for (let i = 0; i < digits; i++) length = length * 256 + (bytes[start++] ?? Number.NaN)
    } else if (length === 0x80) length = Number.NaN // of unknown length: not in DER
    const end = start + length
    // Written so that a length which is none is refused.
    if (!(end <= bytes.length)) throw new InvalidCryptoExchangeError('the certificate is malformed')
    parts.push({ tag, body: bytes.subarray(start, end), whole: bytes.subarray(at, end) })
    at = end
  }
  return parts
}

function first(bytes: Uint8Array): Part {
  const [part] = decode(bytes)
  if (part === undefined) throw new InvalidCryptoExchangeError('the certificate is malformed')
  return part
}

function encode(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents)
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body])
  const length = body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff]
  return Buffer.concat([Buffer.of(tag, ...length), body])
}

/** RFC 5280, 4.1.2.5: two digits for the year until 2049, four from then on. */
function encodeTime(at: number): Buffer {
  const text = new Date(at).toISOString().replace(/[-:T]|\.\d+/g, '')
  return text < '2050' ? encode(UTC_TIME, Buffer.from(text.slice(2))) : encode(GENERALIZED_TIME, Buffer.from(text))
}

import { X509Certificate, generateKeyPairSync } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { InvalidCryptoExchangeError, type PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { generateCertificate, verifyPeerCertificate } from '@libp2p/tls/utils'
import { Extension } from '@peculiar/x509'
import { describe, expect, test } from 'vitest'
import { createCertificate, verifyCertificate } from '../src/certificate.ts'
import {
  type Forgery,
  type Handmade,
  LIBP2P,
  der,
  forgeCertificate,
  handmadeCertificate,
  signedKey,
} from './fixtures/forge-certificate.ts'

// https://github.com/libp2p/specs/blob/master/tls/tls.md#test-vectors, by peer id.
const VECTORS = {
  '12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv':
    '308201ae30820156a0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea37c307a3078060a2b0601040183a25a0101046a3068042408011220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b90440d90d2769db992d5e6195dbb08e706b6651e024fda6cfb8846694a435519941cac215a8207792e42849cccc6cd8136c6e4bde92a58c5e08cfd4206eb5fe0bf909300a06082a8648ce3d0403020346003043021f50f6b6c52711a881778718238f650c9fb48943ae6ee6d28427dc6071ae55e702203625f116a7a454db9c56986c82a25682f7248ea1cb764d322ea983ed36a31b77',
  '16Uiu2HAkutTMoTzDw1tCvSRtu6YoixJwS46S1ZFxW8hSx9fWHiPs':
    '308201ba3082015fa0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea38184308181307f060a2b0601040183a25a01010471306f0425080212210206dc6968726765b820f050263ececf7f71e4955892776c0970542efd689d2382044630440220145e15a991961f0d08cd15425bb95ec93f6ffa03c5a385eedc34ecf464c7a8ab022026b3109b8a3f40ef833169777eb2aa337cfb6282f188de0666d1bcec2a4690dd300a06082a8648ce3d0403020349003046022100e1a217eeef9ec9204b3f774a08b70849646b6a1e6b8b27f93dc00ed58545d9fe022100b00dafa549d0f03547878338c7b15e7502888f6d45db387e5ae6b5d46899cef0',
}
const OF_AN_ECDSA_PEER =
  '308201f63082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f2044730450220064ea8124774caf8f50e57f436aa62350ce652418c019df5d98a3ac666c9386a022100aa59d704a931b5f72fb9222cb6cc51f954d04a4e2e5450f8805fe8918f71eaae300a06082a8648ce3d04030203470030440220799395b0b6c1e940a7e4484705f610ab51ed376f19ff9d7c16757cfbf61b8d4302206205c03fbb0f95205c779be86581d3e31c01871ad5d1f3435bcf375cb0e5088a'
const NOT_SIGNED_BY_THE_PEER =
  '308201f73082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f204473045022100bb6e03577b7cc7a3cd1558df0da2b117dfdcc0399bc2504ebe7de6f65cade72802206de96e2a5be9b6202adba24ee0362e490641ac45c240db71fe955f2c5cf8df6e300a06082a8648ce3d0403020348003045022100e847f267f43717358f850355bdcabbefb2cfbf8a3c043b203a14788a092fe8db022027c1d04a2d41fd6b57a7e8b3989e470325de4406e52e084e34a3fd56eef0d0df'

const refused = expect.objectContaining({ name: 'InvalidCryptoExchangeError' })
const critical = new Extension('1.2.3.4', true, der(0x05, new Uint8Array()))
const harmless = new Extension('1.2.3.4', false, der(0x05, new Uint8Array()))

describe('a certificate', () => {
  for (const [peer, hex] of Object.entries(VECTORS)) {
    test(`of the specification names ${peer}`, async () => {
      expect(String(await verifyCertificate(Buffer.from(hex, 'hex')))).toBe(peer)
    })
  }

  test("of the specification that the peer's key has not signed is refused", async () => {
    await expect(verifyCertificate(Buffer.from(NOT_SIGNED_BY_THE_PEER, 'hex'))).rejects.toEqual(refused)
  })

  test('of the specification whose peer has a kind of key that js-libp2p has no ids for is refused', async () => {
    await expect(verifyCertificate(Buffer.from(OF_AN_ECDSA_PEER, 'hex'))).rejects.toEqual(refused)
  })

  for (const type of ['Ed25519', 'secp256k1', 'RSA'] as const) {
    test(`of a peer with an ${type} key is understood by libp2p, and libp2p's by us`, async () => {
      const identity: PrivateKey =
        type === 'RSA' ? await generateKeyPair(type, 2048) : await generateKeyPair(type as 'Ed25519')
      const peer = peerIdFromPrivateKey(identity)
      const ours = new X509Certificate((await createCertificate(identity)).cert).raw
      expect(String(await verifyPeerCertificate(ours, peer))).toBe(String(peer))
      expect(String(await verifyCertificate(ours, peer))).toBe(String(peer))
      const theirs = new X509Certificate((await generateCertificate(identity)).cert).raw
      expect(String(await verifyCertificate(theirs, peer))).toBe(String(peer))
    })
  }

  test('has a key of its own, and is valid whatever the clock says at either end', async () => {
    const identity = await generateKeyPair('Ed25519')
    const [one, other] = [await createCertificate(identity), await createCertificate(identity)]
    expect(one.key).not.toBe(other.key)
    const { validFromDate, validToDate, serialNumber } = new X509Certificate(one.cert)
    expect([validFromDate.getUTCFullYear(), validToDate.getUTCFullYear()]).toEqual([1975, 4096])
    expect(BigInt(`0x${serialNumber}`)).toBeGreaterThan(0n)
    expect(new X509Certificate(other.cert).serialNumber).not.toBe(serialNumber)
  })

  const good: Record<string, Forgery> = {
    'by another hand': {},
    'with an extension nobody knows': { extensions: (it) => [it, harmless] },
    "with libp2p's extension behind another": { extensions: (it) => [harmless, it] },
    "with libp2p's extension not marked as critical": { extensions: (it) => [new Extension(LIBP2P, false, it.value)] },
  }
  for (const [what, forgery] of Object.entries(good)) {
    test(`${what} is taken`, async () => {
      const identity = await generateKeyPair('Ed25519')
      const { raw } = await forgeCertificate({ ...forgery, identity })
      expect(String(await verifyCertificate(raw))).toBe(String(peerIdFromPrivateKey(identity)))
    })
  }

  const bad: Record<string, (() => Promise<Forgery>) | Forgery> = {
    'of the future': { notBefore: new Date(Date.now() + 3_600_000) },
    'of the past': { notAfter: new Date(Date.now() - 1000) },
    'not signed by itself': { otherSigner: true },
    'where the peer vouches for another key': { otherKey: true },
    'where somebody else vouches': async () => ({ signer: await generateKeyPair('Ed25519') }),
    'with a critical extension nobody knows': { extensions: (it) => [it, critical] },
    'with a critical extension before': { extensions: (it) => [critical, it] },
    'without extensions': { extensions: () => [] },
    "without libp2p's extension": { extensions: () => [harmless] },
    'that names a peer twice': { extensions: (it) => [it, it] },
    'with an empty extension': { extensions: () => [new Extension(LIBP2P, true, new Uint8Array())] },
    'with one string': { extensions: () => [new Extension(LIBP2P, true, signedKey(new Uint8Array(36)))] },
    'with strings that are nothing': {
      extensions: () => [new Extension(LIBP2P, true, signedKey(new Uint8Array(), new Uint8Array()))],
    },
    'with three strings': {
      extensions: (it) => [
        new Extension(
          LIBP2P,
          true,
          der(0x30, Buffer.concat([new Uint8Array(it.value).subarray(2), der(4, new Uint8Array())])),
        ),
      ],
    },
    'with something behind the strings': {
      extensions: (it) => [new Extension(LIBP2P, true, Uint8Array.from([...new Uint8Array(it.value), 5, 0]))],
    },
    'of a length that is none': { extensions: () => [new Extension(LIBP2P, true, Uint8Array.of(0x30, 0x80, 0, 0))] },
    'of a length beyond its end': {
      extensions: () => [new Extension(LIBP2P, true, Uint8Array.of(0x30, 0x84, 255, 255, 255, 255))],
    },
    'that is far too long': {
      extensions: (it) => [it, new Extension('1.2.3.4', false, der(4, new Uint8Array(20_000)))],
    },
  }
  for (const [what, forgery] of Object.entries(bad)) {
    test(`${what} is refused`, async () => {
      const { raw } = await forgeCertificate(typeof forgery === 'function' ? await forgery() : forgery)
      await expect(verifyCertificate(raw)).rejects.toEqual(refused)
    })
  }

  test("of another peer than the one expected is that peer's", async () => {
    const { raw } = await forgeCertificate()
    const somebody = peerIdFromString(Object.keys(VECTORS)[0]!)
    await expect(verifyCertificate(raw, somebody)).rejects.toEqual(
      expect.objectContaining({ name: 'UnexpectedPeerError', message: 'Unexpected Peer' }),
    )
  })

  test('that was cut or changed anywhere names nobody else', async () => {
    const identity = await generateKeyPair('Ed25519')
    const { raw } = await forgeCertificate({ identity })
    const peer = String(peerIdFromPrivateKey(identity))
    let refusals = 0
    const judge = async (bytes: Uint8Array): Promise<void> => {
      try {
        expect(String(await verifyCertificate(bytes))).toBe(peer)
      } catch (error) {
        expect(error).toEqual(refused)
        refusals++
      }
    }
    for (let length = 0; length < raw.length; length++) await judge(raw.subarray(0, length))
    expect(refusals).toBe(raw.length)
    for (let at = 0; at < raw.length; at++) {
      for (const change of [0x01, 0x80, 0xff]) await judge(raw.with(at, raw[at]! ^ change))
    }
    expect(refusals).toBe(raw.length * 4)
  })
})

describe('what libp2p’s TLS forbids although OpenSSL reads it', () => {
  test('nothing is wrong with a handmade certificate as such', async () => {
    expect((await verifyCertificate(await handmadeCertificate())).toString()).toMatch(/^12D3/)
  })

  const forbidden: Record<string, () => Handmade> = {
    'an issuer’s unique id': () => ({ between: [der(0x81, Buffer.of(0, 1))] }),
    'a subject’s unique id': () => ({ between: [der(0x82, Buffer.of(0, 1))] }),
    'a signature over SHA-1': () => ({ algorithm: '300906072a8648ce3d0401', hash: 'sha1' }),
    'a signature over MD5': () => ({
      key: generateKeyPairSync('rsa', { modulusLength: 2048 }),
      algorithm: '300d06092a864886f70d0101040500',
      hash: 'md5',
    }),
    'an RSA key of 1024 bits': () => ({
      key: generateKeyPairSync('rsa', { modulusLength: 1024 }),
      algorithm: '300d06092a864886f70d01010b0500',
    }),
    'a curve that is written out': () => ({
      key: generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }),
    }),
    'bytes behind the certificate': () => ({ behind: Buffer.of(1, 2, 3) }),
  }
  for (const [what, made] of Object.entries(forbidden)) {
    test(`is refused: ${what}`, async () => {
      const raw = await handmadeCertificate(made())
      await expect(verifyCertificate(raw)).rejects.toBeInstanceOf(InvalidCryptoExchangeError)
    })
  }
})

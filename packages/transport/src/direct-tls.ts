// libp2p's `/tls/1.0.0`, with node:tls laid directly over the socket of a connection of direct-tcp.ts: bytes go between
// the socket and OpenSSL without a line of ours, which moves more than twice as many of them as TLS over a libp2p
// stream. On the wire it is the same protocol, agreed upon in the same way; the other end need not be an errand.
//
// Every connection proves both identities: no session is resumed, so no proof can be left out (RFC 8446, 2.2).

import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket, connect, createSecureContext } from 'node:tls'
import {
  type ComponentLogger,
  type ConnectionEncrypter,
  InvalidCryptoExchangeError,
  type MessageStream,
  type PeerId,
  type PrivateKey,
  type SecureConnectionOptions,
  type SecuredConnection,
  type StreamMuxerFactory,
  type Upgrader,
  serviceCapabilities,
} from '@libp2p/interface'
import { createCertificate, verifyCertificate } from './certificate.ts'
import { SocketConnection } from './direct-tcp.ts'

/** All of TLS 1.3 that node has, the one that everybody must have first (RFC 8446, 9.1); it is the fastest, too. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256'
/** What both ends say in ALPN who leave the muxer to be agreed upon later. */
const NO_MUXER = 'libp2p'

interface Components {
  readonly privateKey: PrivateKey
  readonly upgrader: Upgrader
  readonly logger: ComponentLogger
}

/**
 * For `connectionEncrypters` of a libp2p node, in the place of @libp2p/tls. Connections of other transports than
 * `directTcp()` are left to that; it is loaded when the first of them comes.
 */
export function directTls(): (components: Components) => ConnectionEncrypter {
  return (components) => new DirectTls(components)
}

class DirectTls implements ConnectionEncrypter {
  readonly protocol = '/tls/1.0.0'
  readonly [Symbol.toStringTag] = 'direct-tls'
  readonly [serviceCapabilities] = ['@libp2p/connection-encryption']
  readonly #components: Components
  /** One certificate for the life of the node: making one per connection costs more than the handshake. */
  #context: Promise<SecureContext> | undefined
  #standard: Promise<ConnectionEncrypter> | undefined

  constructor(components: Components) {
    this.#components = components
  }

  secureInbound<S extends MessageStream>(connection: S, options?: SecureConnectionOptions): Promise<SecuredConnection> {
    return this.#secure(connection, true, options)
  }

  secureOutbound<S extends MessageStream>(
    connection: S,
    options?: SecureConnectionOptions,
  ): Promise<SecuredConnection> {
    return this.#secure(connection, false, options)
  }

  async #secure(
    connection: MessageStream,
    isServer: boolean,
    options: SecureConnectionOptions = {},
  ): Promise<SecuredConnection> {
    if (!(connection instanceof SocketConnection)) {
      const standard = await (this.#standard ??= this.#load())
      return isServer ? standard.secureInbound(connection, options) : standard.secureOutbound(connection, options)
    }
    const { signal, remotePeer: expected } = options
    const secureContext = await (this.#context ??= createContext(this.#components.privateKey))
    signal?.throwIfAborted()
    const muxers = options.skipStreamMuxerNegotiation === true ? undefined : this.#components.upgrader.getStreamMuxers()
    const tls = overlay(connection.release(), isServer, secureContext, [...(muxers?.keys() ?? []), NO_MUXER])
    try {
      const remotePeer = await prove(tls, expected, signal)
      // Nothing the peer has sent has left the socket yet: it waits there, at most what the socket holds.
      connection.adopt(tls)
      const streamMuxer = muxerOf(tls, muxers)
      return { connection, remotePeer, ...(streamMuxer && { streamMuxer }) }
    } catch (error) {
      connection.abort(error as Error) // and with it the socket, and with that TLS
      throw error
    }
  }

  async #load(): Promise<ConnectionEncrypter> {
    const { tls } = await import('@libp2p/tls')
    return tls()(this.#components)
  }
}

async function createContext(identity: PrivateKey): Promise<SecureContext> {
  const { cert, key } = await createCertificate(identity)
  return createSecureContext({
    cert,
    key,
    // Who is trusted is not decided by authorities; without this node would load all it knows.
    ca: cert,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: CIPHERS,
    secureOptions: constants.SSL_OP_NO_TICKET,
  })
}

function overlay(socket: Socket, isServer: boolean, secureContext: SecureContext, protocols: string[]): TLSSocket {
  const options = {
    secureContext,
    ALPNProtocols: protocols,
    requestCert: true,
    // Certificates sign themselves, which node refuses: `verifyCertificate` judges them.
    rejectUnauthorized: false,
  }
  const tls = isServer ? new TLSSocket(socket, { ...options, isServer }) : connect({ ...options, socket })
  // Between the handshake and `adopt` nobody else listens; `close` comes as well.
  tls.on('error', () => {})
  return tls
}

/** Waits for the handshake, and tells whose it was. */
async function prove(tls: TLSSocket, expected: PeerId | undefined, signal: AbortSignal | undefined): Promise<PeerId> {
  await secured(tls, signal)
  if (tls.isSessionReused()) throw new InvalidCryptoExchangeError('the peer resumes a session')
  const certificate = tls.getPeerX509Certificate()
  if (certificate === undefined) throw new InvalidCryptoExchangeError('the peer shows no certificate')
  // The spec wants one, which nobody else has issued.
  if (certificate.issuerCertificate !== undefined)
    throw new InvalidCryptoExchangeError('the peer shows several certificates')
  const peer = await verifyCertificate(certificate.raw, expected)
  signal?.throwIfAborted()
  return peer
}

async function secured(tls: TLSSocket, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const fail = (error: Error): void => reject(error)
  const end = (): void => reject(new InvalidCryptoExchangeError('the peer hung up during the handshake'))
  const abort = (): void => reject(signal!.reason as Error)
  tls.once('secure', resolve).once('error', fail).once('end', end).once('close', end)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    await promise
  } finally {
    tls.off('secure', resolve).off('error', fail).off('end', end).off('close', end)
    signal?.removeEventListener('abort', abort)
  }
}

/** The muxer that both ends agreed on in the handshake; undefined leaves it to be agreed upon now. */
function muxerOf(tls: TLSSocket, muxers?: ReadonlyMap<string, StreamMuxerFactory>): StreamMuxerFactory | undefined {
  return typeof tls.alpnProtocol === 'string' ? muxers?.get(tls.alpnProtocol) : undefined
}

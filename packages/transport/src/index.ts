// Values over named, authenticated, back-pressured channels between peers. The carriers have entries of their own —
// `./libp2p`, `./socket`, `./memory` — so that only who dials the network loads libp2p.

export type {
  Cancel,
  Channel,
  ChannelEnd,
  OpenOptions,
  PeerId,
  Protocol,
  Transport,
  TransportHost,
} from './transport.ts'
export {
  AddressInUseError,
  ChannelClosedError,
  ChannelFullError,
  DeniedError,
  ErrandError,
  FrameTooLargeError,
  KeyInUseError,
  MalformedError,
  NotTransferableError,
  PeerUnreachableError,
  ProtocolError,
  TooLargeError,
  errorFromCode,
} from './errors.ts'
export { type ChunkWriter, className, createChunkWriter, decode, decodeChunk, encode } from './codec.ts'
export { type Lock, holdLock } from './lock.ts'
export { acceptPipe, openPipe } from './pipe.ts'

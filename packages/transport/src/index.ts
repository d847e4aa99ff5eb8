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
  type ErrandErrorOptions,
  FrameTooLargeError,
  KeyInUseError,
  MalformedError,
  NotTransferableError,
  PeerUnreachableError,
  ProtocolError,
  TooLargeError,
  errorFromCode,
} from './errors.ts'
export {
  CHUNK_SLACK,
  type ChunkWriter,
  className,
  type CodecLimits,
  createChunkWriter,
  decode,
  decodeChunk,
  type DecodeOptions,
  DEFAULT_LIMITS,
  encode,
  type EncodeOptions,
  MAX_BIGINT_BITS,
  MAX_BYTES,
  MAX_DEPTH,
  MAX_ITEMS,
  MAX_REGEXP,
} from './codec.ts'
export { type Lock, holdLock } from './lock.ts'
export { backOff } from './patience.ts'
export { liesAlone } from './lent-memory.ts'
export { acceptPipe, openPipe } from './pipe.ts'

// Errors of the transport. Compare by `code`: it survives threads, processes and networks; classes do not.

/** Marks the classes of errors, also those that another copy of this package made. */
const MADE: unique symbol = Symbol.for('errand.error') as never

/** The root of every error errand makes: a stable `code`, a sentence, and where possible what to do (`hint`). */
export class ErrandError extends Error {
  readonly code: string
  declare readonly hint?: string
  constructor(code: string, message: string, options: ErrandErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    // Defined, not assigned: where a program has frozen Error.prototype, assigning throws.
    Object.defineProperty(this, 'name', { value: new.target.name, writable: true, configurable: true })
    this.code = code
    if (options.hint !== undefined) this.hint = options.hint
  }

  protected static readonly [MADE]: boolean = true

  /** By name where it is another copy's: the one an isolate is bundled with, beside the one its script imports. @internal */
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (Function.prototype[Symbol.hasInstance].call(this, value)) return true
    if (!(value instanceof Error)) return false
    for (let proto: unknown = Object.getPrototypeOf(value); proto; proto = Object.getPrototypeOf(proto)) {
      const made = (proto as { constructor?: { name?: unknown; [MADE]?: unknown } }).constructor
      if (made?.[MADE] === true && made.name === this.name) return true
    }
    return false
  }
}

/** What an error may say beside its message. */
export interface ErrandErrorOptions {
  cause?: unknown
  /** What to do about it, in one sentence. */
  hint?: string | undefined
}

/** The channel has ended; nothing more can be sent. */
export class ChannelClosedError extends ErrandError {
  constructor(message = 'the channel is closed', options?: ErrandErrorOptions) {
    super('CHANNEL_CLOSED', message, options)
  }
}

/** No address of the peer answered, or it fell silent. */
export class PeerUnreachableError extends ErrandError {
  /** It had a connection, and has not been heard of on it for the suspicion time. */
  declare readonly silent?: true
  constructor(message: string, options: ErrandErrorOptions & { silent?: true } = {}) {
    super('PEER_UNREACHABLE', message, options)
    if (options.silent) this.silent = true
  }
}

/** Policy says no. The message never tells whether the thing asked for exists. */
export class DeniedError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('DENIED', message, options)
  }
}

/** The other side broke the protocol, or does not speak it. */
export class ProtocolError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('PROTOCOL', message, options)
  }
}

/** A frame beyond the limit of its protocol. */
export class FrameTooLargeError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('FRAME_TOO_LARGE', message, options)
  }
}

/** A value holds something that cannot travel; `path` says where (`value.rows[3].onClick`). */
export class NotTransferableError extends ErrandError {
  readonly path: string
  constructor(message: string, path: string, options?: ErrandErrorOptions) {
    super('NOT_TRANSFERABLE', message, options)
    this.path = path
  }
}

/** A value beyond a limit (depth, items, digits, size); `path` says where. */
export class TooLargeError extends ErrandError {
  readonly path: string
  constructor(message: string, path: string, options?: ErrandErrorOptions) {
    super('TOO_LARGE', message, options)
    this.path = path
  }
}

/** Bytes that are not a value: truncated, forbidden tag, beyond a limit. */
export class MalformedError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('MALFORMED', message, options)
  }
}

/** Another live process holds this key or home. One process per key. */
export class KeyInUseError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('KEY_IN_USE', message, options)
  }
}

/** The address to listen on is taken. */
export class AddressInUseError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('ADDRESS_IN_USE', message, options)
  }
}

/** More is waiting to be sent on a channel than it will hold: its sender does not wait for `send`. The value was not taken. */
export class ChannelFullError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('CHANNEL_FULL', message, options)
  }
}

const CLASSES: Readonly<Record<string, new (message: string, options?: ErrandErrorOptions) => ErrandError>> = {
  CHANNEL_CLOSED: ChannelClosedError,
  CHANNEL_FULL: ChannelFullError,
  PEER_UNREACHABLE: PeerUnreachableError,
  DENIED: DeniedError,
  PROTOCOL: ProtocolError,
  FRAME_TOO_LARGE: FrameTooLargeError,
  MALFORMED: MalformedError,
}

/** The error that a peer named by its code: of the class that belongs to the code where there is one. */
export function errorFromCode(code: string, message: string, options?: ErrandErrorOptions): ErrandError {
  const known = Object.hasOwn(CLASSES, code) ? CLASSES[code] : undefined
  return known === undefined ? new ErrandError(code, message, options) : new known(message, options)
}

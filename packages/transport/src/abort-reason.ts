// The body of an ABORT frame: why a channel was ended, as far as it is the other side's business.

import { decode, encode } from './codec.ts'
import { ErrandError, ProtocolError, errorFromCode } from './errors.ts'

const CODE = /^[A-Z][A-Z0-9_]{0,63}$/
/** Characters that travel. With three bytes each, and the code, they stay below a control frame's 4096 bytes. */
const MAX_MESSAGE = 900
const MAX_HINT = 300

export function encodeReason(error: Error): Uint8Array {
  const { code, hint } = error as Partial<ErrandError>
  return encode({
    code: typeof code === 'string' && CODE.test(code) ? code : 'CHANNEL_CLOSED',
    message: error.message.slice(0, MAX_MESSAGE),
    ...(typeof hint === 'string' && { hint: hint.slice(0, MAX_HINT) }),
  })
}

/** @throws ProtocolError, MalformedError */
export function decodeReason(body: Uint8Array): ErrandError {
  const reason = decode(body) as { code?: unknown; message?: unknown; hint?: unknown } | null | undefined
  const { code, message, hint } = reason ?? {}
  if (typeof code !== 'string' || !CODE.test(code) || typeof message !== 'string') {
    throw new ProtocolError('an abort without a reason')
  }
  return errorFromCode(code, message, { hint: typeof hint === 'string' ? hint : undefined })
}

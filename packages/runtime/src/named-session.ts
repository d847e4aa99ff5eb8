// Which session is meant: by number, instanceId, name in any case, or the beginning of an instanceId.
import { SessionAmbiguousError, SessionNotFoundError } from './errors.ts'
import type { SessionSnapshot } from './surface.ts'

/** Characters of an instanceId that are enough, where no other begins with them. */
const PREFIX_LEAST = 4

/** Names are not unique: where one names several, a number decides. @throws SessionNotFoundError, SessionAmbiguousError */
export function namedSession<T>(
  which: number | string,
  sessions: readonly T[],
  shown: (session: T) => Pick<SessionSnapshot, 'id' | 'instanceId' | 'name'>,
  where: string,
): T {
  const text = String(which)
  const small = text.toLowerCase()
  const exact = sessions.find((one) => String(shown(one).id) === text || shown(one).instanceId === text)
  if (exact !== undefined) return exact
  const named = sessions.filter((one) => shown(one).name.toLowerCase() === small)
  const begun = text.length >= PREFIX_LEAST ? sessions.filter((one) => shown(one).instanceId.startsWith(small)) : []
  const [found, ...others] = named.length > 0 ? named : begun
  if (found === undefined) throw new SessionNotFoundError(which, where)
  if (others.length > 0) {
    throw new SessionAmbiguousError(
      which,
      [found, ...others].map((one) => shown(one).id),
      where,
    )
  }
  return found
}

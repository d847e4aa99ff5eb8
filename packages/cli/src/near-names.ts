// "Did you mean …?" for a job, session or peer that is not there: the nearest of those that are.
import { codeOf, type LocalPeer } from '@errand/runtime/client'
import { Failure } from './failure.ts'
import { nearest } from './suggestion.ts'

/** How long the names may take to be told, in milliseconds: they are a comfort to who waits for an error. */
const ASK_MS = 500

/**
 * The same error with a better hint, where what was typed is near to something that is there. A job or session that is
 * missing elsewhere is left as it is: what is here says nothing about that.
 */
export async function withNearName(error: unknown, peer: LocalPeer): Promise<unknown> {
  const code = codeOf(error)
  const { message } = error as Error
  const [, typed, where] = /^no (?:job|session|peer) '([^']+)' (?:on (.+)|in the address book)$/.exec(message) ?? []
  if (code === undefined || typed === undefined || (where !== undefined && where !== peer.name)) return error
  const word = typed.replace(/^session:/, '')
  const names = await namesFor(code, peer, AbortSignal.timeout(ASK_MS)).catch((): string[] => [])
  const near = nearest(word, names)
  return near === undefined ? error : new Failure(code, message, `did you mean ${near}?`)
}

async function namesFor(code: string, peer: LocalPeer, signal: AbortSignal): Promise<string[]> {
  const sessions = async (): Promise<string[]> => (await peer.sessions({ signal })).map(({ name }) => name)
  switch (code) {
    case 'JOB_NOT_FOUND':
      return (await peer.jobs({ signal })).map(({ name }) => name)
    case 'SESSION_NOT_FOUND':
      return sessions()
    case 'PEER_NOT_FOUND': {
      // A name behind --on or --at may also be a session's.
      const known = (await peer.peers({ signal })).map(({ name }) => name)
      return [...known, 'localhost', ...(await sessions()).map((name) => `session:${name}`)]
    }
    default:
      return []
  }
}

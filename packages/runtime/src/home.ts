// Where a daemon keeps what is its own: key, address book, socket, configuration.
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** Where the user's daemon keeps what is its own: `ERRAND_HOME`, else the XDG state directory. */
export function defaultHome(env: Record<string, string | undefined> = process.env): string {
  if (env['ERRAND_HOME']) return resolve(env['ERRAND_HOME'])
  return join(env['XDG_STATE_HOME'] || join(homedir(), '.local', 'state'), 'errand')
}

/** The lock that the daemon of a home holds. */
export function lockFile(home: string): string {
  return join(home, 'peer.lock')
}

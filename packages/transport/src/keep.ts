// Staying connected with a peer although nobody has anything to say to it now.

import { PeerUnreachableError, ProtocolError } from './errors.ts'
import { type PatienceOptions, patiently } from './patience.ts'
import type { Channel, Protocol } from './transport.ts'

/**
 * A channel that keeps a connection: nothing is said on it but signs of life. Twenty seconds, because nobody waits for
 * this connection, and a laptop's radio sleeps.
 */
export const KEEP: Protocol = {
  name: '/errand/keep/1',
  maxFrame: 1024,
  maxChannels: 2,
  heartbeat: { interval: 5_000, suspicion: 20_000 },
}

/** How long a connection must have lasted for the pauses between attempts to begin anew, in ms. */
const LASTED = 10_000

/**
 * Opens a KEEP channel, and again whenever it ends, until the signal aborts; never rejects. Refused, it asks again as
 * after silence: who is not admitted today may be tomorrow.
 */
export async function stayConnected(
  options: Omit<PatienceOptions, 'patience'> & { open: () => Promise<Channel>; signal: AbortSignal },
): Promise<void> {
  while (!options.signal.aborted) {
    try {
      await patiently(() => keepOnce(options.open), { ...options, patience: Infinity })
    } catch {
      // The signal's reason: attempts fail with nothing else.
    }
  }
}

/** Settles when a connection that had lasted is gone. @throws PeerUnreachableError for any other */
async function keepOnce(open: () => Promise<Channel>): Promise<void> {
  let since = Infinity
  try {
    const channel = await open()
    since = performance.now()
    await hold(channel)
  } catch (error) {
    throw new PeerUnreachableError('the connection could not be made', { cause: error })
  }
  // A peer that lets us in only to hang up is one that cannot be reached.
  if (performance.now() - since < LASTED) throw new PeerUnreachableError('the connection did not last')
}

/** Reads a KEEP channel until it ends, for whatever reason. */
export async function hold(channel: Channel): Promise<void> {
  try {
    for await (const _ of channel) channel.abort(new ProtocolError('nothing is said on this channel'))
    await channel.end()
  } catch {
    // Lost, refused or closed: whoever wants the connection dials again.
  }
}

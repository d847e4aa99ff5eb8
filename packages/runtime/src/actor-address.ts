// Where an actor is, as plain data: made of a job, checked where it comes from outside.
import type { ActorAddress } from './actor-surface.ts'
import { count, maybe, record, shape, text } from './checks.ts'
import { UsageError } from './errors.ts'
import type { JobSnapshot, PeerId } from './surface.ts'

const follow = shape({ peer: text, name: text })
const fields = shape({ peer: text, path: text, epoch: count, machine: maybe(text), follow: maybe(follow) })
const SNAPSHOT = Symbol.for('errand.snapshot')

/** Of a machine's job on that peer. */
export function addressOf(
  { session, instanceId, epoch = 1 }: Pick<JobSnapshot, 'session' | 'instanceId' | 'epoch'>,
  peer: PeerId,
  machine?: string,
): ActorAddress {
  return Object.freeze({ peer, path: `${session}/${instanceId}`, epoch, ...(machine !== undefined && { machine }) })
}

/** An address, or a ref, which has one. @throws UsageError */
export function checkedAddress(given: unknown): ActorAddress {
  const own = (given as { [SNAPSHOT]?: () => unknown } | null | undefined)?.[SNAPSHOT]
  const value = typeof own === 'function' ? own.call(given) : given
  const { peer, path, epoch, machine, follow } = (record(value) ? value : {}) as Partial<ActorAddress>
  if (!fields(value) || peer === undefined || path === undefined || epoch === undefined)
    throw new UsageError('that is no address of an actor', { hint: 'send a ref, or its `address`' })
  return Object.freeze({ peer, path, epoch, ...(machine !== undefined && { machine }), ...(follow && { follow }) })
}

// Spawns a machine in a session, wherever that is, and gives a ref that has been heard of.
import { addressOf } from './actor-address.ts'
import type { MachineDefinition, Ref, SpawnOptions } from './actor-surface.ts'
import { codeOf, UsageError } from './errors.ts'
import { jobHandle } from './job-handle.ts'
import type { SessionRef } from './session-ref.ts'
import type { Job, JobSnapshot } from './surface.ts'
import { machineSpec } from './work.ts'

const REFUSED: ReadonlySet<string> = new Set([
  'MACHINE_NOT_OFFERED',
  'INVALID_INPUT',
  'JOB_MODULE',
  'NAME_TAKEN',
  'LIMIT',
])

/** The job that it is. @throws UsageError, InvalidInputError, MachineNotOfferedError, NameTakenError, LimitError, DeniedError */
export async function startMachineIn(
  session: SessionRef,
  machine: MachineDefinition | string,
  o: SpawnOptions = {},
): Promise<Job> {
  const { signal } = o
  const event = { type: 'start' as const, spec: await machineSpec(machine, o) }
  const snapshot = (await session.request(event, undefined, { signal, watch: true })) as JobSnapshot
  const job = jobHandle(session, snapshot)
  const { reason } = await job.wait({ for: ['Running'], signal })
  // There never was an actor.
  if (REFUSED.has(codeOf(reason) ?? '')) throw reason!
  return job
}

/**
 * `temporary`: it ends with its peer, also where it is durable.
 * @throws UsageError, InvalidInputError, MachineNotOfferedError, NameTakenError, LimitError, DeniedError
 */
export async function spawnIn(
  session: SessionRef,
  machine: MachineDefinition | string,
  o: SpawnOptions = {},
  temporary = false,
): Promise<Ref> {
  const { actors } = session
  if (!actors) throw new UsageError('a script cannot hold an actor: spawn it from a program, or start a job')
  const { signal, onRefused } = o
  const spec = { ...(await machineSpec(machine, o)), ...(temporary && { temporary }) }
  const job = (await session.request({ type: 'start', spec }, undefined, { signal })) as JobSnapshot
  const { peerId, transport } = session.snapshot
  // The daemon of this machine, by way of its socket.
  const peer = peerId === 'local' && transport === 'socket' ? 'localhost' : peerId
  const ref = await actors.ref(addressOf(job, peer, spec.job), {
    ...(typeof machine === 'object' && { definition: machine }),
    ...(onRefused && { onRefused }),
  })
  await ref.ready({ signal })
  // There never was an actor.
  if (ref.state === 'gone' && REFUSED.has(codeOf(ref.reason) ?? '')) throw ref.reason!
  return ref
}

// JSON for programs: documents with fields that only grow, and tags for values that JSON lacks.
import { className, jsonError, jsonValue } from '@errand/runtime/client'
import type { JobRecord, JobSnapshot, PeerInfo, Question, SessionSnapshot } from '@errand/runtime/client'
import { usage } from '../failure.ts'
import { jobId } from './job.ts'

/** A time as documents say it: ISO 8601, UTC; null for one that is not known. */
export function iso(time: Date | undefined): string | null {
  return time === undefined || Number.isNaN(time.getTime()) ? null : time.toISOString()
}

/** The fields picked with `--json=id,state`, in that order; all without a pick. @throws Failure USAGE for none such */
export function pick(
  document: Record<string, unknown>,
  fields: readonly string[],
  known: readonly string[] = Object.keys(document),
): Record<string, unknown> {
  if (fields.length === 0) return document
  checkFields(fields, known)
  return Object.fromEntries(
    fields.filter((field) => Object.hasOwn(document, field)).map((field) => [field, document[field]]),
  )
}

/** Also where there is no document to pick from: a wrong field is wrong in an empty list, too. @throws Failure USAGE */
export function checkFields(fields: readonly string[], known: readonly string[]): void {
  const unknown = fields.find((field) => !known.includes(field))
  if (unknown !== undefined) throw usage(`there is no field '${unknown}'`, `fields: ${known.join(',')}`)
}

/** Fields of a job's JSON document; they only grow. */
export const JOB_FIELDS: readonly string[] = [
  'id',
  'instanceId',
  'name',
  'type',
  'state',
  'hasMoreData',
  'location',
  'peer',
  'command',
  'begunAt',
  'endedAt',
  'exitCode',
  'errorCount',
  'reason',
  'pid',
  'children',
  'question',
  'epoch',
  'history',
  'paused',
  'items',
  'at',
]

/** What is not known yet is null, so that every document has every field; `at` only where several tables were asked. */
export function jobDocument(job: JobSnapshot, at?: string): Record<string, unknown> {
  return {
    id: job.position === undefined ? job.id : jobId(job),
    instanceId: job.instanceId,
    name: job.name,
    type: job.type,
    state: job.state,
    hasMoreData: job.hasMoreData,
    location: job.location,
    peer: job.peer,
    command: job.command,
    begunAt: iso(job.begunAt),
    endedAt: iso(job.endedAt),
    exitCode: job.exitCode ?? null,
    errorCount: job.errorCount,
    reason: job.reason === undefined ? null : errorFields(job.reason),
    pid: job.pid ?? null,
    children: job.children.map((child) => jobDocument(child)),
    question: job.question === undefined ? null : questionDocument(job.question),
    epoch: job.epoch ?? 1,
    history: job.history.map(({ state, at: since }) => ({ state, at: iso(since) })),
    paused: job.paused ?? null,
    items: job.items ?? null,
    ...(at === undefined ? {} : { at }),
  }
}

/** What it waits for an answer to. */
function questionDocument(question: Question): Record<string, unknown> {
  const { id, prompt, choices, default: usual, secret, schema, askedAt } = question
  return {
    id,
    prompt,
    choices: choices ?? null,
    default: usual === undefined ? null : tagged(usual),
    secret: secret === true,
    schema: schema === undefined ? null : tagged(schema),
    askedAt: iso(askedAt),
  }
}

/** Fields of a session's JSON document; they only grow. */
export const SESSION_FIELDS: readonly string[] = [
  'id',
  'instanceId',
  'name',
  'peer',
  'state',
  'availability',
  'location',
  'transport',
  'computerType',
  'configurationName',
  'idleTimeout',
  'expiresAt',
  'jobs',
  'epoch',
  'reason',
  'buffering',
]

export function sessionDocument(session: SessionSnapshot): Record<string, unknown> {
  return {
    id: session.id,
    instanceId: session.instanceId,
    name: session.name,
    peer: session.peerId,
    state: session.state,
    availability: session.availability,
    location: session.location,
    transport: session.transport,
    computerType: session.computerType,
    configurationName: session.configurationName,
    idleTimeout: session.idleTimeout,
    expiresAt: iso(session.expiresAt),
    jobs: session.jobs,
    epoch: session.epoch,
    reason: session.reason === undefined ? null : errorFields(session.reason),
    buffering: session.buffering,
  }
}

/** Fields of a peer's JSON document; they only grow. */
export const PEER_FIELDS: readonly string[] = ['name', 'id', 'addresses', 'grants', 'owner', 'connected']

export function peerDocument({ name, id, addresses, grants, owner, connected }: PeerInfo): Record<string, unknown> {
  return { name, id, addresses, grants, owner: owner ?? null, connected }
}

/** Of what `ask` prints. */
export const ANSWER_FIELDS: readonly string[] = ['jobId', 'value']

/** Fields of a record's line; which of them it has depends on its kind. They only grow. */
export const RECORD_FIELDS: readonly string[] = [
  'seq',
  'at',
  'location',
  'jobId',
  'kind',
  'value',
  'error',
  'activity',
  'status',
  'percent',
  'secondsRemaining',
  'completed',
  'dropped',
  'state',
]

export function recordDocument(record: JobRecord): Record<string, unknown> {
  const { seq, at, location, jobId, kind } = record
  const base = { seq, at: iso(at), location, jobId, kind }
  switch (record.kind) {
    case 'error':
      return { ...base, error: errorFields(record.error) }
    case 'gap':
      return { ...base, dropped: record.dropped }
    case 'progress': {
      const { activity, status, percent, secondsRemaining, completed } = record
      // JSON leaves out what is undefined.
      return { ...base, activity, status, percent, secondsRemaining, completed }
    }
    default:
      return { ...base, value: tagged(record.value) }
  }
}

/** An error as documents say it. Its own fields stand beside name, message and code; the stack is for people. */
export function errorFields(error: unknown): Record<string, unknown> {
  return jsonError(error, ownDocument)
}

/** A value as JSON can hold it; jobs and sessions as documents say them. */
export function tagged(value: unknown): unknown {
  return jsonValue(value, ownDocument)
}

function ownDocument(value: object): unknown {
  if (className(value) === 'Job') return jobDocument(value as JobSnapshot)
  if (className(value) === 'Session') return sessionDocument(value as SessionSnapshot)
  return undefined
}

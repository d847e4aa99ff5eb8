// Errors of the runtime. Compare by `code`; codes are part of the contract, classes are a comfort within one process.
import { decode, encode, ErrandError, type ErrandErrorOptions } from '@errand/transport'
import type { JobSnapshot } from './surface.ts'

export {
  ChannelClosedError,
  DeniedError,
  ErrandError,
  type ErrandErrorOptions,
  NotTransferableError,
  PeerUnreachableError,
  ProtocolError,
  TooLargeError,
} from '@errand/transport'

/** No job of that table is meant by that: number, name, prefix of an instanceId. */
export class JobNotFoundError extends ErrandError {
  constructor(which: unknown, where: string) {
    super('JOB_NOT_FOUND', `no job ${show(which)} on ${where}`, { hint: '`errand list` shows the jobs there are' })
  }
}
/** Several jobs are meant by that; the message has their numbers. */
export class JobAmbiguousError extends ErrandError {
  constructor(which: unknown, ids: readonly (number | string)[]) {
    super('JOB_AMBIGUOUS', `${show(which)} names several jobs: ${ids.join(', ')}`, { hint: 'use a number' })
  }
}
/** Thrown by `output()` and by awaiting a run of several targets' jobs; `errors` holds what the job said went wrong. */
export class JobFailedError extends ErrandError {
  readonly errors: readonly Error[]
  readonly job: JobSnapshot | undefined
  constructor(message: string, errors: readonly Error[], job?: JobSnapshot) {
    super('JOB_FAILED', message, { cause: errors[0] })
    this.errors = errors
    this.job = job
  }
}
/** The job was stopped: by `stop`, with its session, or because its peer left. */
export class JobStoppedError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('JOB_STOPPED', message, options)
  }
}
/** What was asked for is for jobs that have ended, and this one has not. */
export class JobNotFinishedError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('JOB_NOT_FINISHED', message, options)
  }
}
/** The job is in a state that does not allow this. */
export class JobStateError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('JOB_STATE', message, options)
  }
}
/** Nothing can be sent to the job any more: it has ended, its input was ended, or it takes none. */
export class InputClosedError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('INPUT_CLOSED', message, options)
  }
}
/** The question has its answer already, or is withdrawn. */
export class QuestionAnsweredError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('QUESTION_ANSWERED', message, options)
  }
}
/** The answer does not fit the question, which stays open; `issues` say what is wrong with it. */
export class InvalidAnswerError extends ErrandError {
  readonly issues: readonly string[]
  constructor(issues: readonly string[]) {
    super('INVALID_ANSWER', `that answer does not fit: ${issues.join('; ')}`)
    this.issues = issues
  }
}
/** Some items of a map failed; each said so in the log, as an error with `item`, its place among the inputs. */
export class ItemsFailedError extends ErrandError {
  /** So many errors are kept here. */
  static readonly KEPT = 16
  readonly failed: number
  /** The first of them. */
  readonly errors: readonly Error[]
  constructor(failed: number, of: number, errors: readonly Error[]) {
    super('ITEMS_FAILED', `${failed} of ${of} items failed`, { cause: errors[0] })
    this.failed = failed
    this.errors = errors.slice(0, ItemsFailedError.KEPT)
  }
}
/** The reason of a parent whose children did not all complete; `errors` are the children's reasons, in order. */
export class ChildJobError extends ErrandError {
  readonly errors: readonly Error[]
  constructor(message: string, errors: readonly Error[]) {
    super('CHILD_JOB', message)
    this.errors = errors
  }
}
/** A job that is started again whenever it fails has failed too often; `cause` is its last failure. */
export class RestartIntensityError extends ErrandError {
  constructor(failures: number, within: number, options?: ErrandErrorOptions) {
    super('RESTART_INTENSITY', `it failed ${failures} times within ${within} ms`, options)
  }
}
/** A supervisor has given up, and stopped its children: it had to start them again too often. `cause` is the last failure. */
export class SupervisorFailedError extends ErrandError {
  constructor(name: string, child: string, times: number, within: number, options?: ErrandErrorOptions) {
    const often = `more than ${times} ${times === 1 ? 'restart' : 'restarts'} within ${within} ms`
    super(
      'RESTART_INTENSITY',
      `supervisor ${show(name)} gave up: ${often} were needed, the last of ${show(child)}`,
      options,
    )
  }
}
/** No session there is meant by that: number, name, instanceId. */
export class SessionNotFoundError extends ErrandError {
  constructor(which: unknown, where: string) {
    super('SESSION_NOT_FOUND', `no session ${show(which)} on ${where}`, { hint: '`errand session list` shows them' })
  }
}
/** Several sessions are meant by that; the message has their numbers. */
export class SessionAmbiguousError extends ErrandError {
  constructor(which: unknown, ids: readonly number[], where: string) {
    super('SESSION_AMBIGUOUS', `${show(which)} names several sessions on ${where}: ${ids.join(', ')}`, {
      hint: 'use a number',
    })
  }
}
/** The session's runspace is taken: it runs one thing at a time. */
export class SessionBusyError extends ErrandError {
  constructor(name: string) {
    super('SESSION_BUSY', `session ${name} is running something; it runs one thing at a time`, {
      hint: 'wait for it, use `start` for a job beside it, or open a second session',
    })
  }
}
/** The session is closed, here or there. */
export class SessionClosedError extends ErrandError {
  constructor(name: string, options?: ErrandErrorOptions) {
    super('SESSION_CLOSED', `session ${name} is closed`, options)
  }
}
/** The session has ended because nobody came back to it in time, and its jobs with it. */
export class SessionExpiredError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('SESSION_EXPIRED', message, options)
  }
}
/** The session is not in a state that allows this. */
export class SessionStateError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('SESSION_STATE', message, options)
  }
}
/** The link to the peer is gone; whether the request was carried out is unknown. */
export class PeerLostError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('PEER_LOST', message, options)
  }
}
/** The peer it ran on ended without warning and was started again: how far it had come is unknown. */
export class PeerRestartedError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('PEER_RESTARTED', message, options)
  }
}
/** A request was asked, its answer is lost, and nobody can know any more whether it was carried out. */
export class OutcomeUnknownError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('OUTCOME_UNKNOWN', `${message}: whether it was carried out is unknown`, {
      hint: 'look at what is there before you ask for it anew',
      ...options,
    })
  }
}
/** No peer of the address book is called that. */
export class PeerNotFoundError extends ErrandError {
  constructor(which: string) {
    super('PEER_NOT_FOUND', `no peer ${show(which)} in the address book`, {
      hint: '`errand peer list` shows those there are; `errand join TICKET` adds one',
    })
  }
}
/** The peer was closed: it takes nothing any more. */
export class PeerClosedError extends ErrandError {
  constructor(message = 'this peer is closed') {
    super('PEER_CLOSED', message)
  }
}
/** A time that was given is over: of a wait (what is waited for goes on) or a deadline (it was stopped). */
export class TimeoutError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('TIMEOUT', message, options)
  }
}
/** The worker or process that ran the job ended without finishing it. */
export class EngineExitError extends ErrandError {
  readonly exitCode: number | undefined
  readonly signal: string | undefined
  constructor(message: string, how: { exitCode?: number | undefined; signal?: string | undefined } = {}) {
    super('ENGINE_EXIT', message)
    this.exitCode = how.exitCode
    this.signal = how.signal
  }
}
/** A command ended with an exit code other than 0. */
export class CommandExitError extends ErrandError {
  readonly exitCode: number
  constructor(command: string, exitCode: number) {
    super('COMMAND_EXIT', `${command} ended with exit code ${exitCode}`)
    this.exitCode = exitCode
  }
}
/** A command could not be started: there is none, it is no program, or something else was missing (its directory). */
export class CommandStartError extends ErrandError {
  constructor(
    code: 'COMMAND_NOT_FOUND' | 'COMMAND_NOT_EXECUTABLE' | 'COMMAND_NOT_STARTED',
    message: string,
    options?: ErrandErrorOptions,
  ) {
    super(code, message, options)
  }
}
/** A script's text uses names that do not travel with it. */
export class FreeVariableError extends ErrandError {
  readonly names: readonly string[]
  constructor(message: string, names: readonly string[], options?: ErrandErrorOptions) {
    super('FREE_VARIABLE', message, options)
    this.names = names
  }
}
/** A script that cannot be read or sent. */
export class ScriptError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('SCRIPT', message, options)
  }
}
/** A bad argument, said before anything was done. */
export class UsageError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('USAGE', message, options)
  }
}
/** A named bound was reached: what, and how large it is. */
export class LimitError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('LIMIT', message, options)
  }
}
/** One thing a schema has against a value, and where in the value: `['rows', 3, 'name']`. */
export interface SchemaIssue {
  readonly message: string
  readonly path: readonly (string | number)[]
}
/** What a named job was given is not what it takes; `issues` say why. */
export class InvalidInputError extends ErrandError {
  readonly issues: readonly SchemaIssue[]
  constructor(what: string, issues: readonly SchemaIssue[]) {
    super('INVALID_INPUT', `${what} does not take that: ${issueText(issues)}`)
    this.issues = issues
  }
}
/** A named job made what its `output` schema does not allow. */
export class InvalidOutputError extends ErrandError {
  readonly issues: readonly SchemaIssue[]
  constructor(job: string, issues: readonly SchemaIssue[]) {
    super('INVALID_OUTPUT', `job '${job}' made what it may not: ${issueText(issues)}`)
    this.issues = issues
  }
}
/** No job is offered there under that name. */
export class JobNotOfferedError extends ErrandError {
  constructor(job: string, where: string) {
    super('JOB_NOT_OFFERED', `${where} offers no job '${job}'`, {
      hint: 'a peer offers the jobs it was created with: `createPeer({ jobs: […] })`, or `errand up --offer FILE`',
    })
  }
}
/** No machine is offered there under that name. */
export class MachineNotOfferedError extends ErrandError {
  constructor(machine: string, where: string) {
    super('MACHINE_NOT_OFFERED', `${where} offers no machine '${machine}'`, {
      hint: 'a peer offers the machines it was created with: `createPeer({ machines: […] })`, or `errand up --offer FILE`',
    })
  }
}
/** An event that a machine does not take from outside, or whose fields do not fit; `issues` say why. */
export class InvalidEventError extends ErrandError {
  readonly issues: readonly SchemaIssue[]
  constructor(message: string, issues: readonly SchemaIssue[] = [], options?: ErrandErrorOptions) {
    super('INVALID_EVENT', issues.length > 0 ? `${message}: ${issueText(issues)}` : message, options)
    this.issues = issues
  }
}
/** The state that a machine is in has no transition for what it was asked. */
export class EventNotAcceptedError extends ErrandError {
  constructor(machine: string, event: string, state: string) {
    super('EVENT_NOT_ACCEPTED', `${machine} is in ${state} and does nothing on '${event}' there`)
  }
}
/** There is no such actor (any more): it has ended, or was started again and is another one. */
export class ActorGoneError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('ACTOR_GONE', message, options)
  }
}
/** It is written down, and what is offered now cannot go on with it: nothing of it is run until that can. */
export class MachineQuarantinedError extends ErrandError {
  constructor(actor: string, why: string) {
    super('MACHINE_QUARANTINED', `${actor} is quarantined: ${why}`, {
      hint: 'start its peer with a definition that can go on with it, or stop it: then what is written of it is deleted',
    })
  }
}
/** Another actor has that name, and nobody said that it is to be replaced. */
export class NameTakenError extends ErrandError {
  constructor(name: string, holder: { readonly peer: string; readonly path: string }) {
    super('NAME_TAKEN', `'${name}' is the name of ${holder.path} on ${holder.peer}`, {
      hint: 'it is free when that one has ended; `peer.register(name, actor, { replace: true })` gives it to another one',
    })
  }
}
/** No actor has that name there now. */
export class NameNotFoundError extends ErrandError {
  constructor(name: string, where: string) {
    super('NAME_NOT_FOUND', `no actor is called '${name}' on ${where}`)
  }
}
/** The module of a named job cannot be imported where the job runs, or does not export it. */
export class JobModuleError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('JOB_MODULE', message, options)
  }
}
/**
 * The store could not keep something, or not be opened: STORE_FULL, STORE_READ_ONLY (both may pass), STORE_IN_USE,
 * STORE_VERSION, STORE_DAMAGED, STORE_CLOSED, STORE_FAILED.
 */
export class StoreError extends ErrandError {
  constructor(code: `STORE_${string}`, message: string, options?: ErrandErrorOptions) {
    super(code, message, options)
  }
}
/** A ticket that is unreadable, used up or expired. */
export class TicketError extends ErrandError {
  constructor(message: string, options?: ErrandErrorOptions) {
    super('TICKET', message, options)
  }
}

/** The first few; the error itself has them all. */
function issueText(issues: readonly SchemaIssue[]): string {
  const shown = issues
    .slice(0, 5)
    .map(({ message, path }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
  return [...shown, ...(issues.length > 5 ? [`and ${issues.length - 5} more`] : [])].join('; ')
}

function show(which: unknown): string {
  return typeof which === 'string' ? `'${which}'` : String(which)
}

/** Anything thrown, as an Error. */
export function asError(thrown: unknown): Error {
  if (Error.isError(thrown)) return thrown
  if (typeof thrown === 'string') return new Error(thrown)
  let text = 'something that cannot be shown'
  try {
    text = show(thrown)
  } catch {
    // An object without a prototype, a revoked proxy: there are values that have no text.
  }
  return new Error(`thrown: ${text}`, { cause: thrown })
}

/** Of one error that code of others has thrown, in bytes. */
const PLAIN_BYTES = 256 * 1024

/**
 * What was thrown, in a form that can be told to others: as it is, where it can travel; else without what cannot. Whoever
 * threw it may have hung sockets and functions on it. Never throws.
 */
export function plainError(thrown: unknown): Error {
  const error = asError(thrown)
  const limits = { bytes: PLAIN_BYTES }
  try {
    encode(error, { limits })
    return error
  } catch {
    // Then a copy.
  }
  try {
    return decode(encode(error, { lossy: true, limits })) as Error
  } catch {
    const plain = new Error(String(error.message).slice(0, 1000))
    return Object.assign(plain, { name: String(error.name).slice(0, 100), code: codeOf(error) })
  }
}

/** What a program wrote on stderr, as an error record: its words, without a stack of ours. */
export function nativeError(text: string): Error {
  const error = new Error(text)
  error.name = 'NativeCommandError'
  error.stack = text
  return error
}

/** The stable code of an error, from here or from another peer. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

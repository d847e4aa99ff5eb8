// How a job is executed: the contract, in prose and types.
//
// An engine starts an execution and says what comes of it: chunks of records, in order, then exactly one ending, and
// nothing after it — whatever happens to the script, its worker, its process or its peer. It never throws from `start`:
// what goes wrong is an ending. An ending is said only when nothing of the execution is left (guarantee G9).
import type { HostedActor } from '../hosted-actor.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import type { MapItems } from '../map-items.ts'
import type { RawChunk } from '../record.ts'
import type { Buffering, Completion, Kind, Question, SessionSnapshot } from '../surface.ts'
import type { InitSpec, WorkSpec } from '../wire.ts'

export interface ExecutionSpec {
  /** instanceId of the job. */
  readonly job: string
  readonly work: WorkSpec
  /** Name of the peer it runs on, for `ctx.location`. */
  readonly location: string
  /** The session it runs in, for `ctx.session`. */
  readonly session: SessionSnapshot
  /** Done first, once in each isolate: what the session brings with it. */
  readonly setUp?: InitSpec | undefined
  /** Counted from 1. Default 1. */
  readonly attempt?: number | undefined
  /**
   * Under which the job is written down, where that outlives the peer; and whether it was at work when the peer ended, and is
   * to go on: of a durable machine.
   */
  readonly kept?: { readonly key: string; readonly again: boolean } | undefined
  /** Where a run is taken up again: the number of its first record that is not here yet. Default 0. */
  readonly from?: number | undefined
}

/** Where an execution puts what it makes. */
export interface ExecutionIO {
  /** `first`: numbered already, where it is a copy of a log elsewhere. */
  chunk(chunk: RawChunk, first?: number): void
  /** Whether there is a record of that kind, from that one on, as `from` counts. Of what goes on in its peer's next life. */
  has?(kind: Kind, from: number): Promise<boolean>
  ended(ending: Ending): void
  /** It runs in a process of its own. */
  started?(pid: number): void
  /** What `queues` said would wait is to begin; not before this has settled, where it is a promise. */
  mayBegin?(): Promise<void> | undefined
  /** Its turn has come, where `queued` said that it had not. */
  begun?(): void
  /** It has read so many bytes of its input: as many more may be given. Starts at CREDIT_BYTES. */
  inputRead?(bytes: number): void
  /** It asks, and waits for an answer. */
  asked?(question: Question): void
  /** That question is closed. With `refusal` it was not by the last answer, and stays open if that is INVALID_ANSWER. */
  answered?(question: string, refusal?: Error): void
  /** It stands still, as it was asked to. */
  suspended?(): void
  /** It goes on again, told by somebody else. */
  resumed?(): void
  /** Remote engine only: it will run in this session; nothing is asked of it before that is written down. */
  placed?(session: string): Promise<void> | undefined
  /** Remote engine only: how it will have ended, as soon as the session that was opened for it is closed. */
  judged?(ending: Ending): Promise<void> | undefined
  /** Remote engine only: what it is called there. */
  taken?(run: string): void
  /** Remote engine only: it cannot be reached (it may go on), and: it can again. */
  lost?(reason: Error): void
  back?(): void
  /** Remote engine only: what happens where it runs when nobody reads; of the copy here the same is wanted. */
  buffered?(how: Buffering): void
  /** Remote engine only: where it runs it waits for its reader, or does not any more. */
  full?(full: boolean): void
}

export interface Execution {
  /** The consumer took so many bytes more. Starts at CREDIT_BYTES. */
  credit(bytes: number): void
  /** Signal, grace, force. Again: harder. After the ending: nothing. */
  stop(request: StopRequest): void
  /** It waits for its turn; `begun` says when that has come. */
  readonly queued?: boolean
  /** A chunk of its input, within the credit. */
  input?(chunk: RawChunk): void
  /** No more input; with `error` whoever reads it gets that. */
  endInput?(error?: Error): void
  /** An answer, encoded; `answered` says what came of it. */
  answer?(question: string, value: Uint8Array): void
  /** To stand still: `suspended` says when it does. */
  suspend?(): void
  resume?(): void
  /** Of a machine, once it is there. */
  readonly actor?: HostedActor | undefined
  /** Of a durable machine: why it stands still, and cannot be told to go on. */
  readonly quarantine?: Error | undefined
  /** Of a durable machine: its peer goes down, and it goes on with the next one. Settles when all of it is on disk. */
  leave?(): Promise<void>
  /** Of a durable machine: the end of its job is on disk, and what was kept for a restart is not needed any more. */
  concluded?(): void
  /** Of a map: its items as they are now. */
  readonly items?: MapItems
  /** Of a map: so many items at once from now on. */
  throttle?(items: number): void
  /** Remote engine only. @throws PeerUnreachableError when it cannot be reached now */
  reachable?(): Promise<void>
  /** Remote engine only: our reader has taken everything before `seq`. */
  acknowledge?(seq: number): Promise<void> | undefined
}

export interface Engine extends AsyncDisposable {
  start(spec: ExecutionSpec, io: ExecutionIO): Execution
  /** This work would wait for its turn now, and `mayBegin` is asked before it begins. None: nothing ever does. */
  queues?(work: WorkSpec): boolean
  /** Asked before there is a job: settles when one may be made. Undefined, and none: at once. */
  mayBegin?(): Promise<void> | undefined
  /** This work goes on after its peer was killed, where it is written down. None: nothing does. */
  keeps?(work: WorkSpec): boolean
  /** Names with which a line could go on that is typed for it: see completion.ts. Never rejects. None: it knows none. */
  complete?(text: string): Promise<Completion>
  /** So many executions at once from now on, also of those that wait already. Engines without a limit have none. */
  throttle?(most: number): void
}

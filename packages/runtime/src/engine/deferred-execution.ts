// An execution whose turn has not come: it waits in a queue, or its spec is not there yet.
import type { HostedActor } from '../hosted-actor.ts'
import type { StopRequest } from '../job-machine.ts'
import type { RawChunk } from '../record.ts'
import type { Execution, ExecutionIO } from './engine.ts'

export class DeferredExecution implements Execution {
  readonly #onStop: () => boolean
  #execution: Execution | undefined
  #over = false
  /** What was said to it meanwhile. Few: input waits for its credit, and a stop ends it. */
  readonly #early: ((execution: Execution) => void)[] = []

  /**
   * `onStop`: it was stopped before its turn came, and is to be ended without one. False: its turn has come after all, and
   * it is to be stopped when that is known here.
   */
  constructor(onStop: () => boolean) {
    this.#onStop = onStop
  }

  /** True until its turn has come. */
  get queued(): boolean {
    return this.#execution === undefined
  }

  get actor(): HostedActor | undefined {
    return this.#execution?.actor
  }

  /** Its turn: this is what it was all the time. */
  begin(execution: Execution, io: ExecutionIO): void {
    this.#execution = execution
    if (!execution.queued) io.begun?.()
    for (const act of this.#early.splice(0)) act(execution)
  }

  /** Its turn will not come. */
  abandon(): void {
    this.#over = true
    this.#early.length = 0
  }

  credit(bytes: number): void {
    this.#pass((execution) => execution.credit(bytes))
  }
  input(chunk: RawChunk): void {
    this.#pass((execution) => execution.input?.(chunk))
  }
  endInput(error?: Error): void {
    this.#pass((execution) => execution.endInput?.(error))
  }
  answer(question: string, value: Uint8Array): void {
    this.#pass((execution) => execution.answer?.(question, value))
  }
  suspend(): void {
    this.#pass((execution) => execution.suspend?.())
  }
  resume(): void {
    this.#pass((execution) => execution.resume?.())
  }
  stop(request: StopRequest): void {
    if (this.#execution) this.#execution.stop(request)
    else if (!this.#over && !this.#onStop()) this.#early.push((execution) => execution.stop(request))
  }

  #pass(act: (execution: Execution) => void): void {
    if (this.#execution) act(this.#execution)
    else if (!this.#over) this.#early.push(act)
  }
}

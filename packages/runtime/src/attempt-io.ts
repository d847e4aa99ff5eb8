// What one attempt of a job says, for as long as it is the job's: what it still says after its ending is nobody's news.
import type { ExecutionIO } from './engine/engine.ts'
import type { Ending } from './job-machine.ts'
import type { RawChunk } from './record.ts'
import type { Buffering, Kind, Question } from './surface.ts'

/** An object of methods, and not of closures: of small jobs there are many. */
export class AttemptIO implements ExecutionIO {
  #owner: Required<ExecutionIO> | undefined

  constructor(owner: Required<ExecutionIO>) {
    this.#owner = owner
  }

  /** It is over. */
  leave(): void {
    this.#owner = undefined
  }

  chunk(chunk: RawChunk, first?: number): void {
    this.#owner?.chunk(chunk, first)
  }
  async has(kind: Kind, from: number): Promise<boolean> {
    return (await this.#owner?.has(kind, from)) ?? false
  }
  ended(ending: Ending): void {
    this.#owner?.ended(ending)
  }
  started(pid: number): void {
    this.#owner?.started(pid)
  }
  mayBegin(): Promise<void> | undefined {
    return this.#owner?.mayBegin()
  }
  begun(): void {
    this.#owner?.begun()
  }
  inputRead(bytes: number): void {
    this.#owner?.inputRead(bytes)
  }
  asked(question: Question): void {
    this.#owner?.asked(question)
  }
  answered(question: string, refusal?: Error): void {
    this.#owner?.answered(question, refusal)
  }
  suspended(): void {
    this.#owner?.suspended()
  }
  resumed(): void {
    this.#owner?.resumed()
  }
  placed(session: string): Promise<void> | undefined {
    return this.#owner?.placed(session)
  }
  judged(ending: Ending): Promise<void> | undefined {
    return this.#owner?.judged(ending)
  }
  taken(run: string): void {
    this.#owner?.taken(run)
  }
  lost(reason: Error): void {
    this.#owner?.lost(reason)
  }
  back(): void {
    this.#owner?.back()
  }
  buffered(how: Buffering): void {
    this.#owner?.buffered(how)
  }
  full(full: boolean): void {
    this.#owner?.full(full)
  }
}

// An engine whose jobs say what the test tells them to, in chunks of numbered outputs.
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from '../../src/engine/engine.ts'
import { RecordWriter } from '../../src/record.ts'

export class ToldJob implements Execution {
  readonly #io: ExecutionIO
  /** So many records were said: each one's value is its number. */
  said = 0
  over = false

  constructor(io: ExecutionIO) {
    this.#io = io
  }

  /** So many more, as one chunk. */
  say(count: number): void {
    if (this.over) return
    const writer = new RecordWriter((chunk) => this.#io.chunk(chunk), Number.POSITIVE_INFINITY)
    for (let n = 0; n < count; n++) writer.write('output', this.said++)
    writer.flush()
  }

  end(): void {
    if (this.over) return
    this.over = true
    this.#io.ended({ outcome: 'completed' })
  }

  credit(): void {}

  stop(): void {
    if (this.over) return
    this.over = true
    this.#io.ended({ outcome: 'stopped' })
  }
}

export class ToldEngine implements Engine {
  readonly jobs = new Map<string, ToldJob>()

  start({ job }: ExecutionSpec, io: ExecutionIO): Execution {
    const told = new ToldJob(io)
    this.jobs.set(job, told)
    return told
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

// Background jobs: each script in a process of its own, each command as the process it is. No limit of its own: as
// PowerShell's Start-Job, all start at once. One spare process is kept warm for scripts once the first has run.
import { nativeError } from '../errors.ts'
import { CREDIT_BYTES, singleRecord } from '../record.ts'
import { CommandEngine } from './command.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import type { Isolate, LaneEngine, OpenSessionLink } from './lane.ts'
import { startProcess } from './process-isolate.ts'
import { Spare } from './spare.ts'

export class ProcessEngine implements Engine {
  readonly #commands = new CommandEngine()
  readonly #working = new Set<LaneEngine>()
  readonly #spare: Spare

  constructor(options: { openLink: OpenSessionLink }) {
    this.#spare = new Spare(() => startProcess({ serves: 'scripts' }), options.openLink)
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    if (spec.work.kind === 'command') return this.#commands.start(spec, io)
    const { maxMemory, permissions, cwd } = spec.work
    const { isolate, lane } =
      maxMemory === undefined && permissions === undefined
        ? this.#spare.take()
        : this.#spare.make(() =>
            startProcess({
              serves: 'scripts',
              maxMemory,
              // What may not look at its directory cannot be sent there later either.
              ...(permissions && { cwd, permissions }),
            }),
          )
    const native = new NativeOutput(isolate, io)
    this.#working.add(lane)
    const execution = lane.start(spec, io, {
      // The process goes with its job, with whatever it started; the job has ended when all are gone.
      ended: (ending) => {
        isolate.kill()
        void isolate.exited.then(() => {
          this.#working.delete(lane)
          io.ended(ending)
        })
      },
    })
    let still = false
    const resume = (): void => {
      if (!still) return
      still = false
      isolate.resume?.()
    }
    return {
      ...execution,
      credit: (bytes) => execution.credit(native.credit(bytes)),
      // Whatever the script is doing, also in what it started.
      suspend: () => {
        still = true
        isolate.suspend?.()
        io.suspended?.()
      },
      resume,
      // What stands still hears nothing.
      stop: (request) => {
        resume()
        execution.stop(request)
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const lanes = [...this.#working].map((lane) => lane[Symbol.asyncDispose]())
    await Promise.all([this.#commands[Symbol.asyncDispose](), this.#spare.dispose(), ...lanes])
  }
}

/**
 * Lines that come out of the process's own stdout and stderr, past every capture: what a program wrote that the script
 * started. They share the job's credit: what the log took counts for them first.
 */
export class NativeOutput {
  readonly #isolate: Isolate
  #ahead = 0

  constructor(isolate: Isolate, io: ExecutionIO) {
    this.#isolate = isolate
    isolate.output?.onLine((line, wrong) => {
      const chunk = wrong ? singleRecord('error', nativeError(line)) : singleRecord('information', line)
      this.#ahead += chunk.bytes.byteLength
      if (this.#ahead >= CREDIT_BYTES) isolate.output?.pause()
      io.chunk(chunk)
    })
  }

  /** What of this credit is the script's. */
  credit(bytes: number): number {
    const own = Math.min(bytes, this.#ahead)
    this.#ahead -= own
    if (own > 0 && this.#ahead < CREDIT_BYTES / 2) this.#isolate.output?.resume()
    return bytes - own
  }
}

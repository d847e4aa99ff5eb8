// The named jobs a peer offers: what `createPeer({ jobs })` was given, and the engines that know them by name.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { encode } from '@errand/transport'
import { DeferredExecution } from './engine/deferred-execution.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine/engine.ts'
import { asError, FreeVariableError, JobNotOfferedError, ScriptError, UsageError } from './errors.ts'
import { checkedInput, IN_HAND, isJobDefinition, valueOf, type OfferedSpec } from './job-definition.ts'
import type { Ending } from './job-machine.ts'
import type { JobDefinition } from './surface.ts'
import type { WorkSpec } from './wire.ts'

export class JobOffers {
  readonly #jobs = new Map<string, JobDefinition>()
  /** For messages: whose they are. */
  readonly #where: string

  private constructor(where: string) {
    this.#where = where
  }

  /** Everything that can be said before somebody asks for one is said now. @throws UsageError, ScriptError, FreeVariableError */
  static async open(jobs: readonly JobDefinition[], where: string): Promise<JobOffers> {
    const offers = new JobOffers(where)
    for (const [index, job] of jobs.entries()) {
      if (!isJobDefinition(job)) throw new UsageError(`jobs[${index}] is not what \`defineJob\` makes`)
      const { name, module } = job
      if (offers.#jobs.has(name)) throw new UsageError(`two of the jobs are named '${name}': a name stands for one`)
      if (module === undefined) await textOf(job)
      else if (!existsSync(fileURLToPath(module)))
        throw new UsageError(`the module of job '${name}' is not there: ${module}`)
      offers.#jobs.set(name, job)
    }
    return offers
  }

  get names(): string[] {
    return [...this.#jobs.keys()]
  }

  /** @throws JobNotOfferedError */
  throwUnlessOffered({ kind, job = '' }: WorkSpec): void {
    if (kind === 'job' && !this.#jobs.has(job)) throw new JobNotOfferedError(job, this.#where)
  }

  /** An engine that is asked for a job by name, and asks this one for what the peer runs under that name. */
  engine(inner: Engine): Engine {
    const preparing = new Set<Preparing>()
    return {
      start: (spec, io) => {
        if (spec.work.kind !== 'job') return inner.start(spec, io)
        const { [IN_HAND]: inHand, ...work } = spec.work as WorkSpec & { [IN_HAND]?: JobDefinition }
        // Who holds the definition in this very process need not have it offered to others.
        const job = inHand ?? this.#jobs.get(work.job ?? '')
        // Whatever the asker said they are: what is run is ours to say.
        const offered: OfferedSpec = { ...work, module: job?.module, source: undefined }
        if (job?.module !== undefined) return inner.start({ ...spec, work: offered }, io)
        const asked = async (): Promise<ExecutionSpec> => {
          if (!job) throw new JobNotOfferedError(work.job ?? '', this.#where)
          const source = await textOf(job)
          // The schema is a closure of this process, so it is asked here.
          const payload = job.input ? encode(await checkedInput(job, valueOf(work))) : work.payload
          return { ...spec, work: { ...offered, source, payload } }
        }
        const one = new Preparing(io, asked(), (ready) => inner.start(ready, io))
        preparing.add(one)
        void one.done.then(() => preparing.delete(one))
        return one.execution
      },
      queues: (work) => inner.queues?.(work) === true,
      throttle: (most) => inner.throttle?.(most),
      ...(inner.complete && { complete: (text: string) => inner.complete!(text) }),
      [Symbol.asyncDispose]: async () => {
        for (const one of preparing) one.end({ outcome: 'stopped' })
        await inner[Symbol.asyncDispose]()
      },
    }
  }
}

/** An execution whose spec is not there yet. */
class Preparing {
  readonly execution: DeferredExecution
  /** Settles when it has begun, or has ended without. */
  readonly done: Promise<void>
  readonly #io: ExecutionIO
  readonly #settle: () => void
  #over = false

  constructor(io: ExecutionIO, spec: Promise<ExecutionSpec>, start: (spec: ExecutionSpec) => Execution) {
    this.#io = io
    const { promise, resolve } = Promise.withResolvers<void>()
    this.done = promise
    this.#settle = resolve
    this.execution = new DeferredExecution(() => {
      this.end({ outcome: 'stopped' })
      return true
    })
    // Stopped meanwhile: a schema that answers late, or never, has nothing to begin any more.
    spec
      .then((ready) => {
        if (this.#over) return
        const begun = start(ready)
        this.#settle()
        this.execution.begin(begun, io)
      })
      .catch((error: unknown) => this.end({ outcome: 'failed', error: asError(error) }))
  }

  /** Without having begun; after that its ending is its own. */
  end(ending: Ending): void {
    if (!this.execution.queued || this.#over) return
    this.#over = true
    this.execution.abandon()
    this.#settle()
    this.#io.ended(ending)
  }
}

/** What travels of a definition without a module. @throws UsageError, ScriptError, FreeVariableError */
async function textOf({ name, output, run }: JobDefinition): Promise<string> {
  const hint = 'give `defineJob` `module: import.meta.url`: then that file is imported where the job runs'
  if (output) {
    throw new UsageError(
      `job '${name}' has an \`output\` schema and no \`module\`: outputs are checked where they are made`,
      {
        hint,
      },
    )
  }
  // The parser is 235 KB: not loaded by who offers modules only.
  const { functionSource } = await import('./script.ts')
  try {
    return functionSource(run)
  } catch (error) {
    const cause = asError(error)
    const message = `job '${name}' has no \`module\`, so its text must be whole by itself: ${cause.message}`
    throw cause instanceof FreeVariableError
      ? new FreeVariableError(message, cause.names, { cause, hint })
      : new ScriptError(message, { cause, hint })
  }
}

// Runs machines in processes, one for each actor: what one does to its process is no other's end. One spare process is kept
// warm once the first has run.
import type { MachineDefinition } from '../actor-surface.ts'
import type { ActorPlace } from '../actor-way.ts'
import { ProtocolError } from '../errors.ts'
import type { OfferedSpec } from '../job-definition.ts'
import type { StopRequest } from '../job-machine.ts'
import { Link, type LinkServer } from '../link.ts'
import type { SessionEvent } from '../wire.ts'
import type { Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import type { LaneEngine } from './lane.ts'
import { NativeOutput } from './process.ts'
import { ProcessActor } from './process-actor.ts'
import { startProcess } from './process-isolate.ts'
import { Spare } from './spare.ts'

/** What a machine that lets go of its process needs to stop, or to stand still, in ms: then it is done by force. */
export const MACHINE_GRACE_MS = 250

/** Brings a batch to an actor anywhere, in the name of the peer. */
export type PassOn = (place: ActorPlace, event: SessionEvent, options: { signal: AbortSignal }) => Promise<unknown>

export class MachineProcesses implements AsyncDisposable {
  readonly #working = new Set<LaneEngine>()
  readonly #server: LinkServer
  // Nobody there asks by a link of his own.
  readonly #spare = new Spare(
    () => startProcess({ serves: 'machine' }),
    (channel) => channel.abort(),
  )

  constructor(passOn: PassOn) {
    this.#server = serverOf(passOn)
  }

  /** An actor in a process of its own; `maxMemory` is one that was started for it. */
  start({ name, module, maxMemory }: MachineDefinition, spec: ExecutionSpec, io: ExecutionIO): Execution {
    const { isolate, lane } =
      maxMemory === undefined
        ? this.#spare.take()
        : this.#spare.make(() => startProcess({ serves: 'machine', maxMemory }))
    const native = new NativeOutput(isolate, io)
    const channel = lane.open()
    // Its lane ends it, with the process; which must not go on without it.
    const link = new Link(channel, channel, { client: 'machine' }, this.#server)
    void link.closed.then(() => lane.refuse('said what no machine says'))
    const actor = new ProcessActor(name, spec.attempt ?? 1, spec.job, link)
    this.#working.add(lane)
    /** It was asked to stand still, and has not said so. */
    let suspending: NodeJS.Timeout | undefined
    let still = false
    let begun = false
    const inner: ExecutionIO = {
      chunk: (chunk) => io.chunk(chunk),
      started: (pid) => io.started?.(pid),
      begun: () => {
        begun = true
        io.begun?.()
      },
      suspended: () => {
        // Said late, when it was made to, or is to go on again: that is no news.
        if (!suspending) return
        clearTimeout(suspending)
        suspending = undefined
        io.suspended?.()
      },
      ended: () => undefined, // told to `ended` below
    }
    const { job, location, session, attempt } = spec
    const work: OfferedSpec = { ...spec.work, module }
    const execution = lane.start({ job, location, session, attempt, work }, inner, {
      tells: 'begun',
      // The process goes with its actor, with whatever it started; the job has ended when all are gone.
      ended: (ending) => {
        clearTimeout(suspending)
        actor.ended(ending)
        isolate.kill()
        void isolate.exited.then(() => {
          this.#working.delete(lane)
          actor[Symbol.dispose]()
          io.ended(ending)
        })
      },
    })
    const goOn = (): void => {
      clearTimeout(suspending)
      suspending = undefined
      if (still) isolate.resume?.()
      still = false
    }
    let stopping = false
    return {
      actor,
      // Until its module is there, and its input has been taken: before that there is no actor.
      get queued() {
        return !begun
      },
      credit: (bytes) => execution.credit(native.credit(bytes)),
      suspend: () => {
        execution.suspend?.()
        clearTimeout(suspending)
        // Its own way it stands still between two events, and can be looked at. One that is busy is stopped where it is.
        suspending = setTimeout(() => {
          suspending = undefined
          still = true
          isolate.suspend?.()
          io.suspended?.()
        }, MACHINE_GRACE_MS)
      },
      resume: () => {
        goOn()
        execution.resume?.()
      },
      stop: (request: StopRequest) => {
        // What stands still hears nothing.
        goOn()
        // XState stops at once, and what it runs with it: nobody who lets go of his process is killed for that.
        const grace = stopping ? request.grace : Math.max(request.grace, MACHINE_GRACE_MS)
        stopping = true
        execution.stop({ ...request, grace })
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const lanes = [...this.#working].map((lane) => lane[Symbol.asyncDispose]())
    await Promise.all([this.#spare.dispose(), ...lanes])
  }
}

/** All that a machine's process may ask. */
function serverOf(passOn: PassOn): LinkServer {
  const refuse = (what: string): never => {
    throw new ProtocolError(`a machine's process asks nothing but ${what}`)
  }
  return {
    async handle(_, { peer, session, job }, event, __, signal) {
      if (event.type !== 'actor.tell' || peer === undefined || session === undefined || job === undefined)
        return refuse('that something is told to an actor')
      return passOn({ peer, session, job }, event, { signal })
    },
    read: () => refuse('requests'),
    watch: () => refuse('requests'),
  }
}

// One watcher of an actor on the peer that hosts it: through its attempts if it was meant whichever it is, to its end.
import { endOf } from './actor-end.ts'
import { goneState, type ActorState } from './actor-state.ts'
import { isFinished } from './child-jobs.ts'
import { ActorGoneError } from './errors.ts'
import type { HostedActor } from './hosted-actor.ts'
import type { JobHost } from './job.ts'

/** An old ref: whoever has its address now is another one. */
export function restarted(name: string): ActorGoneError {
  return new ActorGoneError(`${name} was started again and is another one now`, {
    hint: 'a ref by name follows it: `peer.whereis`',
  })
}

export class ActorWatch {
  readonly #job: JobHost
  readonly #epoch: number
  readonly #listener: (state: ActorState) => void
  readonly #unwatchJob: () => void
  #actor: HostedActor | undefined
  #unwatchActor: (() => void) | undefined
  #over = false

  constructor(job: JobHost, epoch: number, listener: (state: ActorState) => void) {
    this.#job = job
    this.#epoch = epoch
    this.#listener = listener
    this.#unwatchJob = job.watch(() => this.#look())
    this.#look()
  }

  readonly end = (): void => {
    this.#over = true
    this.#unwatchJob?.()
    this.#unwatchActor?.()
  }

  #look(): void {
    if (this.#over) return
    const { state, name, attempt, actor, quarantine } = this.#job
    // Nothing is started again but what has failed.
    if (this.#epoch !== 0 && attempt !== this.#epoch)
      return this.#conclude({
        ...goneState(restarted(name), attempt),
        status: attempt > this.#epoch ? 'error' : 'gone',
      })
    if (isFinished(state)) return this.#conclude(endOf(this.#job.snapshot(), (actor ?? this.#actor)?.state()))
    if (quarantine) return this.#conclude(goneState(quarantine, attempt))
    if (!actor || actor === this.#actor) return
    this.#unwatchActor?.()
    this.#actor = actor
    this.#unwatchActor = actor.watch((seen) => {
      // How it ended is told with the job's end, which is on disk then.
      if (!this.#over && seen.status === 'active') this.#listener(seen)
    })
  }

  #conclude(state: ActorState): void {
    this.end()
    this.#listener(state)
  }
}

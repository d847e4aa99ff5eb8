// What a ref shows of an actor: what came from elsewhere, with the questions that XState's own snapshots answer.
import { matchesState, type StateValue } from 'xstate'
import { shownValue, type ActorState } from './actor-state.ts'
import type { ActorSnapshot } from './actor-surface.ts'

/** A snapshot of what came from elsewhere. */
export class SeenSnapshot implements ActorSnapshot {
  readonly status: ActorSnapshot['status']
  readonly value: StateValue
  readonly context: unknown
  readonly tags: ReadonlySet<string>
  readonly accepts: readonly string[]
  readonly output: unknown
  readonly error: unknown
  readonly epoch: number
  readonly seq: number

  /** `before`: where nothing is said of what it shows, it is as it was. */
  constructor(state: ActorState, before?: ActorSnapshot) {
    const { status, epoch, seq, value, tags, accepts, context, output, reason } = state
    this.status = status
    this.epoch = epoch
    this.seq = seq
    this.value = value ?? before?.value ?? ''
    this.tags = tags ? new Set(tags) : (before?.tags ?? new Set())
    this.accepts = status === 'active' ? (accepts ?? []) : []
    this.context = context ? shownValue(context) : before?.context
    this.output = output && shownValue(output)
    this.error = reason
  }

  matches(value: StateValue): boolean {
    return matchesState(value, this.value)
  }

  hasTag(tag: string): boolean {
    return this.tags.has(tag)
  }

  /** Whether its state has a transition for that; guards are not asked. */
  can({ type }: { readonly type: string }): boolean {
    return this.accepts.includes(type)
  }
}

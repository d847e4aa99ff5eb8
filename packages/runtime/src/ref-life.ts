// Where a ref is in its life: takes the statechart's steps (ref-machine.ts) without computing them again. There are some forty,
// the same for all refs, and an actor of XState's own for each ref would be half of what a ref costs.
import { initialTransition, transition, type SnapshotFrom } from 'xstate'
import type { RefState } from './actor-surface.ts'
import { refMachine, type RefActions, type RefMachineEvent } from './ref-machine.ts'

/** One object for each place, so that its steps can be kept with it. */
interface Place {
  readonly state: RefState
  readonly follows: boolean
  readonly steps: Map<string, Step>
}

interface Step {
  readonly to: Place
  readonly calls: readonly (keyof RefActions)[]
  /** Of the reason: stays, is none any more, or is what the event says. */
  readonly reason: 'stays' | 'none' | 'said'
}

/** Whoever computes a step is asked for nothing. */
const nobody: RefActions = { attach() {}, detach() {}, release() {}, conclude() {} }
const places = new Map<string, Place>()
const begins = new Map<boolean, Step>()

/** What was the reason before a step that is computed, and what its event says. */
const BEFORE = new Error()
const SAID = new Error()

function placeOf(state: RefState, follows: boolean): Place {
  const key = `${state} ${follows}`
  let place = places.get(key)
  if (!place) places.set(key, (place = { state, follows, steps: new Map() }))
  return place
}

function stepFrom(place: Place, event: RefMachineEvent): Step {
  const says = 'reason' in event
  const key = says ? `${event.type} says` : event.type
  let step = place.steps.get(key)
  if (!step) {
    const { state: value, follows } = place
    const there = refMachine.resolveState({ value, context: { host: nobody, follows, reason: BEFORE } })
    const said = { ...event, ...(says && { reason: SAID }) } as RefMachineEvent
    step = made(follows, value === 'gone' ? [there, []] : transition(refMachine, there, said))
    place.steps.set(key, step)
  }
  return step
}

function begin(follows: boolean): Step {
  let step = begins.get(follows)
  if (!step) begins.set(follows, (step = made(follows, initialTransition(refMachine, { host: nobody, follows }))))
  return step
}

function made(
  follows: boolean,
  [{ value, context }, actions]: readonly [SnapshotFrom<typeof refMachine>, readonly { readonly type: string }[]],
): Step {
  const calls = actions.map(({ type }) => type).filter((type): type is keyof RefActions => type in nobody)
  const reason = context.reason === BEFORE ? 'stays' : context.reason === SAID ? 'said' : 'none'
  return { to: placeOf(value, follows), calls, reason }
}

export class RefLife {
  readonly #host: RefActions
  #place: Place
  #reason: Error | undefined
  /** What is said while a step is taken is taken behind it. */
  #coming: RefMachineEvent[] | undefined
  #listeners: Set<() => void> | undefined

  constructor(host: RefActions, follows: boolean) {
    this.#host = host
    this.#place = begin(follows).to
  }

  get state(): RefState {
    return this.#place.state
  }
  get reason(): Error | undefined {
    return this.#reason
  }

  /** Once, before anything is said to it. */
  start(): void {
    this.#take(begin(this.#place.follows), undefined)
  }

  send(event: RefMachineEvent): void {
    if (this.#coming) return void this.#coming.push(event)
    this.#take(stepFrom(this.#place, event), event)
  }

  /** Told whenever its state or its reason is another one, until the returned function is called. */
  follow(listener: () => void): () => void {
    const listeners = (this.#listeners ??= new Set())
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** Is where the step leads, asks for what it asks for, then tells of it. */
  #take(step: Step, event: RefMachineEvent | undefined): void {
    const coming = (this.#coming = [] as RefMachineEvent[])
    try {
      for (let [taken, by]: [Step, RefMachineEvent | undefined] = [step, event]; ;) {
        const [place, reason] = [this.#place, this.#reason]
        this.#place = taken.to
        if (taken.reason !== 'stays')
          this.#reason = taken.reason === 'said' ? (by as { reason?: Error }).reason : undefined
        for (const call of taken.calls) this.#host[call]()
        if (this.#listeners && (this.#place !== place || this.#reason !== reason))
          for (const listener of [...this.#listeners]) listener()
        by = coming.shift()
        if (!by) return
        taken = stepFrom(this.#place, by)
      }
    } finally {
      this.#coming = undefined
    }
  }
}

// The life of one job as a statechart. Decides; does nothing itself: its host acts (job.ts).
//
// A job's actor takes the statechart's steps without computing them again: there are some hundred of them, the same for all
// jobs, and computing one costs a small job more than the rest of it (docs/decisions/0011).
import { assign, fromTransition, setup, transition, type ActorRefFrom } from 'xstate'
import { isFinished } from './child-jobs.ts'
import type { JobState } from './surface.ts'

/** How an execution ended: said once, after its last record. */
export type Ending =
  | { readonly outcome: 'completed'; readonly exitCode?: number | undefined; readonly streamed?: boolean | undefined }
  | {
      readonly outcome: 'failed'
      readonly error: Error
      readonly exitCode?: number | undefined
      /** Its error is the log's last record already. */
      readonly said?: boolean | undefined
    }
  | { readonly outcome: 'stopped'; readonly error?: Error | undefined; readonly exitCode?: number | undefined }

export interface StopRequest {
  /** Milliseconds to end by itself before force; 0: at once. */
  readonly grace: number
  readonly reason?: string | undefined
  /** Of the reason; default JOB_STOPPED. */
  readonly code?: string | undefined
}

/** What the machine asks of whoever hosts it. */
export interface JobActions {
  launch(): void
  halt(request: StopRequest): void
  suspend(): void
  resume(): void
}

/** States in which work is in progress somewhere: what `back` and the children may say. */
export type LiveState = 'Running' | 'Blocked' | 'Suspended'

export type JobMachineEvent =
  | { type: 'job.launch' }
  /** Its turn has come: it was not queued, or is not any more. */
  | { type: 'job.begun' }
  | { type: 'job.stop'; request: StopRequest }
  /** A question is open that was not, or none is any more. */
  | { type: 'job.asked' }
  | { type: 'job.answered' }
  | { type: 'job.suspend' }
  /** It stands still now. */
  | { type: 'job.suspended' }
  | { type: 'job.resume' }
  /** It goes on, and was not told to from here. */
  | { type: 'job.resumed' }
  | { type: 'job.lost' }
  /** It can be reached again, and is in this state. */
  | { type: 'job.back'; state: LiveState }
  | { type: 'job.children'; state: JobState }
  | { type: 'job.ended'; ending: Ending }

const stop = { target: 'Stopping', actions: 'halt' } as const
const lost = { target: 'Disconnected' } as const
/** Whether it waits for an answer or not. */
const atWork = {
  'job.stop': stop,
  'job.lost': lost,
  'job.suspend': { actions: 'suspend' },
  'job.suspended': { target: 'Suspended' },
} as const

export const jobMachine = setup({
  types: {
    input: {} as JobActions,
    /** `asking`: a question is open, whatever else the job is at. */
    context: {} as { host: JobActions; asking: boolean },
    events: {} as JobMachineEvent,
  },
  actions: {
    launch: ({ context }) => context.host.launch(),
    halt: ({ context, event }) => {
      if (event.type === 'job.stop') context.host.halt(event.request)
    },
    suspend: ({ context }) => context.host.suspend(),
    resume: ({ context }) => context.host.resume(),
    asks: assign({ asking: true }),
    asksNot: assign({ asking: false }),
    follow: assign({
      asking: ({ context, event }) => (event.type === 'job.back' ? event.state === 'Blocked' : context.asking),
    }),
  },
  guards: {
    completed: ({ event }) => event.type === 'job.ended' && event.ending.outcome === 'completed',
    failed: ({ event }) => event.type === 'job.ended' && event.ending.outcome === 'failed',
    asking: ({ context }) => context.asking,
    backBlocked: ({ event }) => event.type === 'job.back' && event.state === 'Blocked',
    backSuspended: ({ event }) => event.type === 'job.back' && event.state === 'Suspended',
    childrenRunning: ({ event }) => event.type === 'job.children' && event.state === 'Running',
    childrenBlocked: ({ event }) => event.type === 'job.children' && event.state === 'Blocked',
    childrenSuspended: ({ event }) => event.type === 'job.children' && event.state === 'Suspended',
    childrenDisconnected: ({ event }) => event.type === 'job.children' && event.state === 'Disconnected',
    childrenStopping: ({ event }) => event.type === 'job.children' && event.state === 'Stopping',
  },
}).createMachine({
  id: 'job',
  context: ({ input }) => ({ host: input, asking: false }),
  initial: 'NotStarted',
  // An ending is accepted in every state that is not one; after the end every event is ignored (final states).
  on: {
    'job.ended': [
      { guard: 'completed', target: '.Completed' },
      { guard: 'failed', target: '.Failed' },
      { target: '.Stopped' },
    ],
    // A parent is where its children are, also while it is being stopped: one that cannot be reached is not stopped yet.
    'job.children': [
      { guard: 'childrenRunning', target: '.Running' },
      { guard: 'childrenBlocked', target: '.Blocked' },
      { guard: 'childrenSuspended', target: '.Suspended' },
      { guard: 'childrenDisconnected', target: '.Disconnected' },
      { guard: 'childrenStopping', target: '.Stopping' },
    ],
    // Wherever they are not news of the state, they are remembered for when it is taken up.
    'job.asked': { actions: 'asks' },
    'job.answered': { actions: 'asksNot' },
  },
  states: {
    NotStarted: {
      on: {
        'job.launch': { actions: 'launch' },
        // An engine may ask, or be lost, before it says that it has begun.
        'job.begun': [{ guard: 'asking', target: 'Blocked' }, { target: 'Running' }],
        'job.lost': lost,
        'job.stop': stop,
        // Of a parent that has not been launched they can only be stopped.
        'job.children': {},
      },
    },
    Running: { on: { ...atWork, 'job.asked': { target: 'Blocked', actions: 'asks' } } },
    Blocked: { on: { ...atWork, 'job.answered': { target: 'Running', actions: 'asksNot' } } },
    Suspended: {
      on: {
        'job.stop': stop,
        'job.lost': lost,
        'job.resume': [
          { guard: 'asking', target: 'Blocked', actions: 'resume' },
          { target: 'Running', actions: 'resume' },
        ],
        'job.resumed': [{ guard: 'asking', target: 'Blocked' }, { target: 'Running' }],
      },
    },
    // Stopping what cannot be reached would be a lie: the host reaches it first. Of a parent some children may be reached:
    // they are told, and what becomes of them is their news.
    Disconnected: {
      on: {
        'job.stop': { actions: 'halt' },
        'job.back': [
          { guard: 'backBlocked', target: 'Blocked', actions: 'follow' },
          { guard: 'backSuspended', target: 'Suspended' },
          { target: 'Running', actions: 'follow' },
        ],
      },
    },
    Stopping: {
      on: {
        // A second stop is a harder one.
        'job.stop': { actions: 'halt' },
        'job.lost': lost,
      },
    },
    Completed: { type: 'final' },
    Failed: { type: 'final' },
    Stopped: { type: 'final' },
  },
})

/** Where a job is. One object for each place, so that its steps can be kept with it. */
interface Place {
  readonly state: JobState
  readonly asking: boolean
  /** By the event's type, then by all else that a guard looks at. */
  readonly steps: Map<string, Map<string, Step>>
}

interface Step {
  readonly to: Place
  readonly calls: readonly (keyof JobActions)[]
}

/** Where a job is, by which event, and what its host is asked for before it is there. */
export interface JobLife {
  readonly place: Place
  readonly calls: readonly (keyof JobActions)[]
  readonly event: JobMachineEvent | undefined
}

const places = new Map<string, Place>()
/** Whoever computes a step is asked for nothing. */
const nobody: JobActions = { launch() {}, halt() {}, suspend() {}, resume() {} }

function placeOf(state: JobState, asking: boolean): Place {
  const key = `${state} ${asking}`
  let place = places.get(key)
  if (!place) places.set(key, (place = { state, asking, steps: new Map() }))
  return place
}

function stepFrom(place: Place, event: JobMachineEvent): Step {
  const which = 'state' in event ? event.state : 'ending' in event ? event.ending.outcome : ''
  let steps = place.steps.get(event.type)
  if (!steps) place.steps.set(event.type, (steps = new Map()))
  let step = steps.get(which)
  if (!step) steps.set(which, (step = computed(place, event)))
  return step
}

function computed(place: Place, event: JobMachineEvent): Step {
  const { state, asking } = place
  if (isFinished(state)) return { to: place, calls: [] }
  const there = jobMachine.resolveState({ value: state, context: { host: nobody, asking } })
  const [next, actions] = transition(jobMachine, there, event)
  const calls = actions.map(({ type }) => type).filter((type): type is keyof JobActions => type in nobody)
  return { to: placeOf(next.value as JobState, next.context.asking), calls }
}

/** What a job's actor runs. Pure: its host does what `calls` says, in that order, and then is at `place`. */
export const jobLogic = fromTransition(
  ({ place }: JobLife, event: JobMachineEvent): JobLife => {
    const { to, calls } = stepFrom(place, event)
    return { place: to, calls, event }
  },
  { place: placeOf('NotStarted', false), calls: [], event: undefined },
)

export type JobActor = ActorRefFrom<typeof jobLogic>

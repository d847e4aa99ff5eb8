// The life of one job as a statechart. Decides; does nothing itself: its host acts (job.ts).
// Flat and few events per life, one machine object for all jobs: the host comes in by `input`.
import { assign, setup, type ActorRefFrom } from 'xstate'
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

export type JobActor = ActorRefFrom<typeof jobMachine>

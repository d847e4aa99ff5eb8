// The life of one job as a statechart. Decides; does nothing itself: its host acts (job.ts).
// Flat and few events per life, one machine object for all jobs: the host comes in by `input`.
import { setup, type ActorRefFrom } from 'xstate'
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
}

export type JobMachineEvent =
  | { type: 'job.launch' }
  | { type: 'job.stop'; request: StopRequest }
  | { type: 'job.lost' }
  | { type: 'job.back' }
  | { type: 'job.children'; state: JobState }
  | { type: 'job.ended'; ending: Ending }

export const jobMachine = setup({
  types: {
    input: {} as JobActions,
    context: {} as { host: JobActions },
    events: {} as JobMachineEvent,
  },
  actions: {
    launch: ({ context }) => context.host.launch(),
    halt: ({ context, event }) => {
      if (event.type === 'job.stop') context.host.halt(event.request)
    },
  },
  guards: {
    completed: ({ event }) => event.type === 'job.ended' && event.ending.outcome === 'completed',
    failed: ({ event }) => event.type === 'job.ended' && event.ending.outcome === 'failed',
    childrenRunning: ({ event }) => event.type === 'job.children' && event.state === 'Running',
    childrenBlocked: ({ event }) => event.type === 'job.children' && event.state === 'Blocked',
    childrenDisconnected: ({ event }) => event.type === 'job.children' && event.state === 'Disconnected',
  },
}).createMachine({
  id: 'job',
  context: ({ input }) => ({ host: input }),
  initial: 'NotStarted',
  // An ending is accepted in every state that is not one; after the end every event is ignored (final states).
  on: {
    'job.ended': [
      { guard: 'completed', target: '.Completed' },
      { guard: 'failed', target: '.Failed' },
      { target: '.Stopped' },
    ],
    'job.children': [
      { guard: 'childrenRunning', target: '.Running' },
      { guard: 'childrenBlocked', target: '.Blocked' },
      { guard: 'childrenDisconnected', target: '.Disconnected' },
    ],
  },
  states: {
    NotStarted: {
      on: {
        'job.launch': { target: 'Running', actions: 'launch' },
        'job.stop': { target: 'Stopping', actions: 'halt' },
      },
    },
    Running: {
      on: { 'job.stop': { target: 'Stopping', actions: 'halt' }, 'job.lost': { target: 'Disconnected' } },
    },
    Blocked: {
      on: { 'job.stop': { target: 'Stopping', actions: 'halt' }, 'job.lost': { target: 'Disconnected' } },
    },
    // Stopping what cannot be reached would be a lie: the host reconnects first, then stops.
    Disconnected: { on: { 'job.back': { target: 'Running' } } },
    Stopping: {
      on: {
        // A second stop is a harder one.
        'job.stop': { actions: 'halt' },
        'job.lost': { target: 'Disconnected' },
        'job.children': {},
      },
    },
    Completed: { type: 'final' },
    Failed: { type: 'final' },
    Stopped: { type: 'final' },
  },
})

export type JobActor = ActorRefFrom<typeof jobMachine>

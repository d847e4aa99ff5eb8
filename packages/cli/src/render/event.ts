// How what happens looks: a line for a person, a document for a program.
import type { JobSnapshot, PeerEvent } from '@errand/runtime/client'
import { questionText } from './question.ts'
import { jobId } from './job.ts'
import { errorFields, iso, jobDocument, peerDocument, sessionDocument } from './json.ts'
import { oneLine, printable } from './table.ts'

/** Fields of an event's JSON document; which of them it has depends on what it is. They only grow. */
export const EVENT_FIELDS: readonly string[] = [
  'at',
  'event',
  'state',
  'previous',
  'job',
  'session',
  'hosted',
  'peer',
  'reason',
  'from',
  'jobId',
  'seq',
  'type',
  'ignored',
  'value',
]

/** One thing that happened: of a job that came to two states at once there are two. */
export interface Happening {
  readonly at: Date
  /** `job.started`, `session.opened`, … */
  readonly event: string
  readonly state?: string | undefined
  readonly previous?: string | undefined
  readonly of: PeerEvent
}

const JOB_EVENTS: Readonly<Record<JobSnapshot['state'], string>> = {
  NotStarted: 'job.created',
  Running: 'job.running',
  Blocked: 'job.blocked',
  Suspended: 'job.suspended',
  Disconnected: 'job.disconnected',
  Stopping: 'job.stopping',
  Completed: 'job.completed',
  Failed: 'job.failed',
  Stopped: 'job.stopped',
}

/** What of an event is news to who reads along: that a job's output was read, say, is not. */
export function happenings(event: PeerEvent): readonly Happening[] {
  switch (event.kind) {
    case 'begin':
      return [{ at: event.at, event: 'begin', of: event }]
    case 'job': {
      if (event.removed) return [{ at: event.at, event: 'job.removed', state: event.job.state, of: event }]
      const { history } = event.job
      const first = event.states[0]
      let previous =
        first && history[history.findIndex(({ at, state }) => state === first.state && +at === +first.at) - 1]?.state
      return event.states.map(({ state, at }) => {
        const begins = state === 'Running' && previous === 'NotStarted'
        const happening = { at, event: begins ? 'job.started' : JOB_EVENTS[state], state, previous, of: event }
        previous = state
        return happening
      })
    }
    case 'session': {
      const { session, previous, removed, at } = event
      if (session.state === previous && !removed) return []
      const what = session.state === 'Opened' && previous !== undefined ? 'connected' : session.state.toLowerCase()
      return [{ at, event: `session.${what}`, state: session.state, previous, of: event }]
    }
    case 'peer': {
      const { peer, wasConnected, removed, at } = event
      if (removed) return [{ at, event: 'peer.removed', of: event }]
      if (peer.connected === wasConnected) return [{ at, event: 'peer.changed', of: event }]
      return [{ at, event: peer.connected ? 'peer.connected' : 'peer.lost', of: event }]
    }
  }
}

/** `from`: whose events, where those of several are told. */
export function happeningDocument(
  { at, event, state, previous, of }: Happening,
  from?: string,
): Record<string, unknown> {
  const base = { at: iso(at), event }
  const where = from === undefined ? {} : { from }
  switch (of.kind) {
    case 'begin':
      return { ...base, ...where }
    case 'job': {
      const document = jobDocument(of.job)
      return { ...base, state, previous: previous ?? null, job: document, reason: document['reason'], ...where }
    }
    case 'session': {
      const { session, hosted } = of
      const reason = session.reason === undefined ? null : errorFields(session.reason)
      return { ...base, state, previous: previous ?? null, session: sessionDocument(session), hosted, reason, ...where }
    }
    case 'peer':
      return { ...base, peer: peerDocument(of.peer), ...where }
  }
}

/** `job 3  Failed  localhost  make deploy: exit code 2`: what, which, how it is now, the rest. Nothing that a terminal obeys. */
export function happeningCells(happening: Happening): readonly [string, string, string] {
  const [what, state, rest] = cellsOf(happening)
  return [oneLine(what), oneLine(state), printable(rest)]
}

function cellsOf({ event, state, of }: Happening): readonly [string, string, string] {
  switch (of.kind) {
    case 'begin':
      return ['', '', 'some events were missed']
    case 'job': {
      const { job } = of
      const is = event === 'job.removed' ? 'removed' : (state ?? '')
      return [`job ${jobId(job)}`, is, `${job.location}  ${job.name}: ${detailOf(job, state)}`]
    }
    case 'session': {
      const { session, hosted } = of
      const why = session.reason === undefined ? '' : `: ${oneLine(session.reason.message)}`
      return [
        `session ${session.id}`,
        state ?? '',
        `${hosted ? 'hosted here' : session.location}  ${session.name}${why}`,
      ]
    }
    case 'peer':
      return [`peer ${of.peer.name}`, event.slice('peer.'.length), of.peer.id]
  }
}

function detailOf(job: JobSnapshot, state: string | undefined): string {
  if (state === 'Blocked' && job.question) return questionText(job.question)
  if (state === job.state && job.reason) return oneLine(job.reason.message)
  return oneLine(job.command)
}

/** The time of day on a terminal, all of it elsewhere. */
export function timeText(at: Date, short: boolean): string {
  if (!short) return iso(at) ?? '-'
  const two = (number: number): string => String(number).padStart(2, '0')
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`
}

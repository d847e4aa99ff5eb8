// How an actor looks: everything known of it for a person, and as a document for a program.
import type { ActorInspection, ActorTransition, ChartState, ChartTransition } from '@errand/runtime/client'
import { chartText, dueText, eventText, type ChartStyle } from './chart.ts'
import { facts } from './facts.ts'
import { iso, tagged } from './json.ts'
import { timeText } from './event.ts'
import { oneLine, table } from './table.ts'
import { renderValue } from './value.ts'

export interface ActorStyle extends ChartStyle {
  /** Times of day instead of whole ones. */
  readonly short: boolean
}

/** Lines of its context on a terminal; beyond these one looks for something in it, and --json has all of it. */
const CONTEXT_LINES = 20
/** Columns that the labels take. */
const LABELS = 13

/** What it is and may do now, its chart, and what it did last. */
export function actorText(actor: ActorInspection, style: ActorStyle): string {
  const { machine, version, durable, value, accepts, timers, inbox, watchers, at } = actor
  const made = [machine, ...(version === undefined ? [] : [`version ${version}`]), ...(durable ? ['on disk'] : [])]
  const known = facts([
    ['machine', oneLine(made.join(', '))],
    ['is in', stateText(value)],
    ['accepts now', accepts.map(oneLine).join(', ') || 'nothing'],
    [
      'timers',
      timers
        .map(({ event, due }) => `${eventText({ event, public: false })}  ${dueText(due.getTime() - at.getTime())}`)
        .join('\n'),
    ],
    ['inbox', inbox === 0 ? undefined : `${inbox} ${inbox === 1 ? 'event' : 'events'}`],
    ['watched by', watchers === 0 ? undefined : String(watchers)],
    ['context', contextText(actor.context, style)],
  ])
  return [known, chartText(actor, style), transitionTable(actor.transitions, style)]
    .filter((part) => part !== '')
    .join('\n')
}

function contextText(context: unknown, { columns }: ActorStyle): string | undefined {
  if (context === undefined) return undefined
  const width = columns === undefined ? undefined : Math.max(20, columns - LABELS)
  const lines = renderValue(context, { columns: width, colors: false }).split('\n')
  if (columns === undefined || lines.length <= CONTEXT_LINES) return lines.join('\n')
  return [...lines.slice(0, CONTEXT_LINES), '… more, with --json'].join('\n')
}

function transitionTable(transitions: readonly ActorTransition[], { columns, short, paint }: ActorStyle): string {
  const rows = transitions.map(({ at, event, from, to, ignored }) => [
    timeText(at, short),
    eventText({ event, public: false }),
    stateText(from),
    ignored ? '(ignored)' : stateText(to),
  ])
  return table([{ title: 'TIME' }, { title: 'EVENT' }, { title: 'FROM' }, { title: 'TO' }], rows, {
    columns,
    gap: '  ',
    title: (line) => paint('bold', line),
  })
}

/** Where it is: paths of the innermost states. One line that no terminal obeys. */
export function stateText(value: ActorInspection['value']): string {
  return leaves(value).map(oneLine).join(', ')
}

function leaves(value: ActorInspection['value']): string[] {
  if (typeof value === 'string') return [value]
  return Object.entries(value).flatMap(([key, inner]) => {
    const below = inner === undefined ? [] : leaves(inner)
    return below.length === 0 ? [key] : below.map((one) => `${key}.${one}`)
  })
}

// ── Documents ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Fields of an actor's JSON document; they only grow. */
export const ACTOR_FIELDS: readonly string[] = [
  'machine',
  'version',
  'durable',
  'address',
  'at',
  'status',
  'value',
  'context',
  'accepts',
  'timers',
  'inbox',
  'watchers',
  'chart',
  'transitions',
]

export function actorDocument(actor: ActorInspection): Record<string, unknown> {
  const { peer, path, epoch } = actor.address
  return {
    machine: actor.machine,
    version: actor.version ?? null,
    durable: actor.durable,
    address: { peer, path, epoch },
    at: iso(actor.at),
    status: actor.status,
    value: actor.value,
    context: tagged(actor.context),
    accepts: actor.accepts,
    timers: actor.timers.map(({ event, due }) => ({ event, due: iso(due) })),
    inbox: actor.inbox,
    watchers: actor.watchers,
    chart: chartDocument(actor.chart),
    transitions: actor.transitions.map(transitionDocument),
  }
}

export function transitionDocument({ seq, at, event, from, to, ignored }: ActorTransition): Record<string, unknown> {
  return { seq, at: iso(at), event, from, to, ignored: ignored === true }
}

function chartDocument(state: ChartState): Record<string, unknown> {
  const { key, kind, active, initial, history, tags, invokes, entry, exit, on, states, omitted } = state
  return {
    key,
    kind,
    active,
    initial: initial ?? null,
    history: history ?? null,
    tags: tags ?? [],
    invokes: invokes ?? [],
    entry: entry ?? [],
    exit: exit ?? [],
    on: on.map(chartTransition),
    states: states.map(chartDocument),
    omitted: omitted ?? null,
  }
}

function chartTransition({ event, public: open, targets, guard, actions }: ChartTransition): Record<string, unknown> {
  return { event, public: open, targets, guard: guard ?? null, actions: actions ?? [] }
}

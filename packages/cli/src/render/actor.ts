// How an actor looks: everything known of it for a person, and as a document for a program.
import type { ActorInspection, ActorTransition, ChartState, ChartTransition } from '@errand/runtime/client'
import { chartText, dueText, eventText, NARROW, type ChartStyle } from './chart.ts'
import { facts } from './facts.ts'
import { iso, tagged } from './json.ts'
import { timeText } from './event.ts'
import { oneLine, table, widthOf } from './table.ts'
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
    ['is in', listed(leaves(value), style)],
    ['accepts now', listed(accepts, style) || 'nothing'],
    ['timers', timers.map(({ event, due }) => timerText(event, due.getTime() - at.getTime(), style)).join('\n')],
    ['inbox', inbox === 0 ? undefined : `${inbox} ${inbox === 1 ? 'event' : 'events'}`],
    ['watched by', watchers === 0 ? undefined : String(watchers)],
    ['context', contextText(actor.context, style)],
  ])
  return [known, chartText(actor, style), transitionTable(actor.transitions, style)]
    .filter((part) => part !== '')
    .join('\n')
}

/** Names side by side; what does not fit goes on below. */
function listed(names: readonly string[], { columns = Infinity }: ActorStyle): string {
  const lines: string[] = []
  for (const [index, name] of names.entries()) {
    const word = `${oneLine(name)}${index < names.length - 1 ? ',' : ''}`
    const line = lines.at(-1)
    if (line !== undefined && LABELS + widthOf(line) + 1 + widthOf(word) <= columns)
      lines.push(`${lines.pop()} ${word}`)
    else lines.push(word)
  }
  return lines.join('\n')
}

function timerText(event: string, ms: number, { columns }: ActorStyle): string {
  const [what, when] = [eventText({ event, public: false }), dueText(ms)]
  const fits = columns === undefined || LABELS + widthOf(what) + 2 + widthOf(when) <= columns
  return fits ? `${what}  ${when}` : `${what}\n  ${when}`
}

function contextText(context: unknown, { columns }: ActorStyle): string | undefined {
  if (context === undefined) return undefined
  const width = columns === undefined ? undefined : Math.max(20, columns - LABELS)
  const lines = renderValue(context, { columns: width, colors: false }).split('\n')
  if (columns === undefined || lines.length <= CONTEXT_LINES) return lines.join('\n')
  return [...lines.slice(0, CONTEXT_LINES), '… more, with --json'].join('\n')
}

function transitionTable(transitions: readonly ActorTransition[], { columns, short, paint }: ActorStyle): string {
  // Where there is little room: it came from where the one before had led.
  const narrow = columns !== undefined && columns < NARROW
  const rows = transitions.map(({ at, event, from, to, ignored }) => [
    timeText(at, short),
    eventText({ event, public: false }),
    ...(narrow ? [] : [stateText(from)]),
    ignored ? '(ignored)' : stateText(to),
  ])
  const titles = ['TIME', 'EVENT', ...(narrow ? [] : ['FROM']), 'TO'].map((title) => ({ title }))
  return table(titles, rows, {
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

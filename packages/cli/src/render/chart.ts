// A statechart as a tree of text: what states there are, which of them it is in, and what leads from one to another.
import type { ActorInspection, ChartState, ChartTransition } from '@errand/runtime/client'
import type { styleText } from 'node:util'
import { span } from './facts.ts'
import { cut, oneLine, pad, widthOf } from './table.ts'

export interface ChartStyle {
  /** Width of the terminal; undefined: no line goes on below, none is cut. */
  readonly columns: number | undefined
  readonly paint: (style: Parameters<typeof styleText>[0], text: string) => string
}

/** Words that stay on one line, if there is room for them at all. */
interface Piece {
  readonly text: string
  readonly style?: Parameters<typeof styleText>[0] | undefined
  /** Blanks before it. Default 2. */
  readonly gap?: number
}

/** Events up to so wide stand in a column of their own. */
const EVENT_MOST = 16
const EVENT_NARROW = 8
/** Columns below which there is room for what matters only. */
export const NARROW = 60

/**
 * `●` is a state that it is in. Of a state first what it does, then the states in it. Names are anybody's words: nothing in them
 * is obeyed by a terminal.
 */
export function chartText(of: Pick<ActorInspection, 'chart' | 'accepts' | 'timers' | 'at'>, style: ChartStyle): string {
  const due = new Map(of.timers.map((timer) => [timer.event, timer.due.getTime() - of.at.getTime()]))
  const lines: string[] = []
  const accepts = new Set(of.accepts)
  const walk = (state: ChartState, depth: number, initial: boolean): void => {
    const indent = indentOf(depth, style)
    const inner = indent + 4
    lines.push(laid(stateOf(state, initial), indent, indent + 6, style))
    for (const [when, actions] of Object.entries({ entry: state.entry, exit: state.exit })) {
      if (actions) lines.push(laid([dim(`on ${when}`), ...actionsOf(actions, 1)], inner, inner + 4, style))
    }
    const most = (style.columns ?? NARROW) < NARROW ? EVENT_NARROW : EVENT_MOST
    const names = state.on.map((one) => eventText(one))
    const width = Math.max(0, ...names.map(widthOf).filter((one) => one <= most))
    for (const [index, one] of state.on.entries()) {
      const event = {
        text: pad(names[index]!, width),
        style: !one.public ? 'dim' : state.active && accepts.has(one.event) ? 'bold' : undefined,
      } as const
      const waits = state.active ? due.get(one.event) : undefined
      lines.push(
        laid([event, ...transitionOf(one), ...(waits === undefined ? [] : [wait(waits)])], inner, inner + 4, style),
      )
    }
    const { transitions = 0, states = 0 } = state.omitted ?? {}
    if (transitions > 0) lines.push(laid([dim(`… ${transitions} more transitions`)], inner, inner, style))
    for (const child of state.states) walk(child, depth + 1, child.key === state.initial && state.kind !== 'history')
    const below = indentOf(depth + 1, style)
    if (states > 0) lines.push(laid([dim(`… ${states} more states`)], below, below, style))
  }
  walk(of.chart, 0, false)
  return lines.map((line) => `${line}\n`).join('')
}

/** An event as it is said: of those that are its own how long they take. */
export function eventText({ event, public: open }: Pick<ChartTransition, 'event' | 'public'>): string {
  if (event === '') return 'always'
  const text = oneLine(event)
  return open
    ? text
    : text.replace(/^(after .*?)(\d+) ms\b/, (_, before: string, ms: string) => before + span(Number(ms)))
}

/** How long until it is due. */
export function dueText(ms: number): string {
  return ms > 0 ? `in ${span(ms)}` : 'now'
}

/** However deep it is, there is room for its name. */
function indentOf(depth: number, { columns = Infinity }: ChartStyle): number {
  return Math.max(0, Math.min(2 * depth, Math.floor(columns / 2) - 6))
}

function dim(text: string): Piece {
  return { text, style: 'dim' }
}

function wait(ms: number): Piece {
  return { text: dueText(ms), style: 'yellow' }
}

function stateOf(state: ChartState, initial: boolean): Piece[] {
  const { key, kind, active, history, tags, invokes } = state
  const words = [
    ...(initial ? ['initial'] : []),
    ...(kind === 'final' ? ['final'] : []),
    ...(kind === 'parallel' ? ['all at once'] : []),
    ...(kind === 'history' ? [history === 'deep' ? 'history, deep' : 'history'] : []),
    ...(kind === 'history' && state.initial !== undefined ? [`else ${oneLine(state.initial)}`] : []),
    ...many('tagged', tags),
    ...many('runs', invokes),
  ]
  return [
    { text: active ? '●' : '○', style: active ? ['bold', 'green'] : 'dim' },
    { text: oneLine(key) || "''", gap: 1, style: active ? 'bold' : undefined },
    ...words.map((word, index) => ({
      text: index < words.length - 1 ? `${word},` : word,
      style: 'dim' as const,
      gap: index === 0 ? 2 : 1,
    })),
  ]
}

function many(what: string, names: readonly string[] = []): string[] {
  return names.map((name, index) => (index === 0 ? `${what} ${oneLine(name)}` : oneLine(name)))
}

function transitionOf({ event, public: open, targets, guard, actions = [] }: ChartTransition): Piece[] {
  // A private one: those that XState makes say by their names that nobody sends them.
  const hidden = !open && !/^$|^(?:after|done of|error of|snapshot of) /.test(event)
  return [
    ...targets.map((target, index) => ({
      text: `${index === 0 ? '→' : '&'} ${oneLine(target) || 'the whole'}`,
      gap: index === 0 ? 2 : 1,
    })),
    ...(guard === undefined ? [] : [{ text: `[${oneLine(guard)}]` }]),
    ...actionsOf(actions),
    ...(targets.length === 0 && actions.length === 0 ? [dim('is ignored')] : []),
    ...(hidden ? [dim('(not from outside)')] : []),
  ]
}

function actionsOf(actions: readonly string[], gap = 2): Piece[] {
  return actions.map((action, index) => ({
    text: `${index === 0 ? '/ ' : ''}${oneLine(action)}${index < actions.length - 1 ? ',' : ''}`,
    gap: index === 0 ? gap : 1,
  }))
}

/** Pieces side by side, from column `first` on; what does not fit goes on below, from `rest` on. */
function laid(
  pieces: readonly Piece[],
  first: number,
  rest: number,
  { columns = Infinity, paint }: ChartStyle,
): string {
  let line = ' '.repeat(first)
  let used = first
  let lines = ''
  for (const [index, { text, style, gap = 2 }] of pieces.entries()) {
    const before = index === 0 ? 0 : gap
    // What nothing stands behind needs no blanks.
    const word = index === pieces.length - 1 ? text.trimEnd() : text
    if (index > 0 && used + before + widthOf(word.trimEnd()) > columns && used > rest) {
      lines += `${line.trimEnd()}\n`
      line = ' '.repeat(rest)
      used = rest
    } else {
      line += ' '.repeat(before)
      used += before
    }
    const shown = cut(word, columns - used)
    line += style === undefined ? shown : paint(style, shown)
    used += widthOf(shown)
  }
  return lines + line.trimEnd()
}

// How `errand watch` looks: lines that fill the terminal. Pure: the same view and size, the same lines.
import type { JobRecord, JobSnapshot } from '@errand/runtime/client'
import { timeText } from './event.ts'
import { jobId } from './job.ts'
import { answerLine, questionText } from './question.ts'
import { cut, oneLine, pad, printable, widthOf } from './table.ts'
import { renderValue } from './value.ts'

/** Narrower than this, tables have only what matters most. */
export const NARROW = 60

export type Tone = 'bold' | 'dim' | 'green' | 'yellow' | 'red' | 'inverse'
export type Paint = (tone: Tone, text: string) => string

export interface Size {
  readonly columns: number
  readonly rows: number
}

export interface WatchRow {
  readonly key: string
  readonly cells: readonly string[]
  /** The one cell that says how it is. */
  readonly toned?: { readonly cell: number; readonly tone: Tone } | undefined
}

export interface WatchTable {
  readonly titles: readonly string[]
  readonly rows: readonly WatchRow[]
  /** The row that keys act on. */
  readonly selected: number
  /** What stands there instead of no rows. */
  readonly empty: string
}

export interface WatchView {
  readonly tabs: readonly string[]
  readonly tab: number
  /** Whose peer it is, or that it is away. */
  readonly right: string
  readonly rightTone?: Tone | undefined
  readonly footer: string
  readonly body:
    | { readonly kind: 'table'; readonly table: WatchTable }
    | { readonly kind: 'text'; readonly lines: readonly string[] }
    | { readonly kind: 'job'; readonly facts: readonly string[]; readonly output: readonly string[] }
}

/**
 * As many lines as there are rows, each at most as wide as the terminal. Names, reasons and commands in the view may be
 * anybody's: no line has anything that the terminal obeys, but colours by `paint`.
 */
export function watchFrame(view: WatchView, { columns, rows }: Size, paint: Paint): string[] {
  const head = rows >= 2 ? [titleLine(view, columns, paint)] : []
  // The last row asks and says: it is the last to go.
  const foot = rows >= 3 ? [paint('dim', cut(printable(view.footer), columns))] : []
  const room = Math.max(0, rows - head.length - foot.length)
  const body = bodyOf(view, { columns, rows: room }, paint).slice(0, room)
  return [...head, ...body, ...Array.from({ length: room - body.length }, () => ''), ...foot]
}

function titleLine({ tabs, tab, right, rightTone }: WatchView, columns: number, paint: Paint): string {
  // In brackets, so that it is said without a colour too.
  const words = tabs.map((word, index) => (index === tab ? `[${word}]` : ` ${word} `))
  const left = words.join(' ')
  const used = widthOf(left)
  if (used > columns) return paint('bold', cut(words[tab]!, columns))
  const painted = words.map((word, index) => (index === tab ? paint('bold', word) : word)).join(' ')
  const room = columns - used - 2
  const name = printable(right)
  if (room < Math.min(8, widthOf(name))) return painted
  const shown = cut(name, room)
  return `${painted}${' '.repeat(columns - used - widthOf(shown))}${paint(rightTone ?? 'dim', shown)}`
}

function bodyOf({ body }: WatchView, size: Size, paint: Paint): string[] {
  if (body.kind === 'text') return body.lines.map((line) => cut(line, size.columns))
  if (body.kind === 'table') return tableLines(body.table, size, paint)
  // What it is takes at most half where there is output to be seen.
  const facts = body.facts.slice(0, body.output.length > 0 ? Math.ceil(size.rows / 2) : size.rows)
  const rule = body.output.length > 0 && size.rows - facts.length > 2 ? [paint('dim', '─'.repeat(size.columns))] : []
  const room = size.rows - facts.length - rule.length
  const last = room > 0 ? body.output.slice(-room) : []
  return [
    ...facts.map((line) => cut(printable(line), size.columns)),
    ...rule,
    ...last.map((line) => cut(line, size.columns)),
  ]
}

function tableLines({ titles, rows, selected, empty }: WatchTable, size: Size, paint: Paint): string[] {
  if (rows.length === 0) return [cut(printable(empty), size.columns)]
  const header = size.rows >= 3 ? 1 : 0
  const room = Math.max(1, size.rows - header)
  // The selected row is always among them, in the middle where there are more on both sides.
  const first = Math.max(0, Math.min(selected - Math.floor(room / 2), rows.length - room))
  const shown = rows.slice(first, first + room).map((row) => ({ ...row, cells: row.cells.map(printable) }))
  const widths = titles.map((title, index) => {
    return Math.max(widthOf(title), ...shown.map(({ cells }) => widthOf(cells[index] ?? '')))
  })
  const lines = shown.map((row, index) => lineOf(row, widths, size.columns, first + index === selected, paint))
  const title = cut(`  ${titles.map((word, index) => pad(word, widths[index]!)).join('  ')}`.trimEnd(), size.columns)
  return header === 1 ? [paint('bold', title), ...lines] : lines
}

/** Cut before it is painted: an escape sequence must not be cut in two. */
function lineOf(
  { cells, toned }: WatchRow,
  widths: readonly number[],
  columns: number,
  selected: boolean,
  paint: Paint,
): string {
  let left = columns
  let line = ''
  const add = (text: string, tone?: Tone): void => {
    if (left <= 0) return
    const shown = cut(text, left)
    left -= widthOf(shown)
    line += tone && !selected ? paint(tone, shown) : shown
  }
  add(selected ? '> ' : '  ')
  cells.forEach((cell, index) => {
    if (index > 0) add('  ')
    const last = index === cells.length - 1
    add(last ? cell : pad(cell, widths[index]!), toned?.cell === index ? toned.tone : undefined)
  })
  return selected ? paint('inverse', line + ' '.repeat(Math.max(0, left))) : line
}

export function toneOf(state: string): Tone | undefined {
  switch (state) {
    case 'Running':
    case 'Opened':
    case 'yes':
      return 'green'
    case 'Blocked':
    case 'Suspended':
    case 'Disconnected':
    case 'Connecting':
    case 'Stopping':
      return 'yellow'
    case 'Failed':
    case 'Broken':
      return 'red'
    default:
      return 'dim'
  }
}

/** How long it has been at work, or was: `12s`, `3m04s`, `2h05m`, `3d04h`. */
export function spent({ begunAt, endedAt }: JobSnapshot, now: Date): string {
  if (begunAt === undefined) return '-'
  const seconds = Math.max(0, Math.floor(((endedAt ?? now).getTime() - begunAt.getTime()) / 1000))
  const two = (number: number): string => String(number).padStart(2, '0')
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h${two(Math.floor(seconds / 60) % 60)}m`
  return `${Math.floor(seconds / 86_400)}d${two(Math.floor(seconds / 3600) % 24)}h`
}

/** What there is to know of a job, the most telling first. */
export function jobFacts(job: JobSnapshot, at: string | undefined, now: Date): string[] {
  const {
    name,
    state,
    location,
    type,
    pid,
    command,
    reason,
    exitCode,
    question,
    paused,
    children,
    history,
    errorCount,
  } = job
  const fact = (word: string, text: string): string => `${pad(word, 9)}${text}`
  const counts = Map.groupBy(children, (child) => child.state)
  const where = [
    location,
    type,
    ...(pid === undefined ? [] : [`pid ${pid}`]),
    ...(at === undefined ? [] : [`table of ${at}`]),
  ]
  const times = [
    `${spent(job, now)}${job.endedAt === undefined && job.begunAt !== undefined ? ' so far' : ''}`,
    ...(exitCode === undefined ? [] : [`exit code ${exitCode}`]),
    ...(errorCount === 0 ? [] : [`${errorCount} ${errorCount === 1 ? 'error' : 'errors'}`]),
    ...(job.items ? [`${job.items.done} of ${job.items.taken} items done`] : []),
  ]
  return [
    fact(`job ${jobId(job)}`, `${name}  ${state}`),
    ...(reason === undefined ? [] : [fact(state === 'Failed' ? 'failed' : 'because', oneLine(reason.message))]),
    ...(question === undefined ? [] : [fact('asks', questionText(question)), fact('', answerLine(job, at))]),
    ...(paused === undefined ? [] : [fact('paused', `nobody reads what it says: errand receive ${jobId(job)}`)]),
    fact('command', oneLine(command)),
    fact('where', where.join('  ')),
    fact('took', times.join('  ')),
    ...(children.length === 0
      ? []
      : [fact('children', [...counts].map(([one, of]) => `${of.length} ${one}`).join(', '))]),
    fact('history', history.map((one) => `${one.state} ${timeText(one.at, true)}`).join(' > ')),
  ]
}

/** What a job says, as lines that move no cursor; `several`: with where it was said. */
export function outputLines(record: JobRecord, several: boolean): string[] {
  const where = several ? `${record.location} | ` : ''
  return textOf(record)
    .split('\n')
    .map((line) => printable(`${where}${line}`))
}

function textOf(record: JobRecord): string {
  const style = { columns: undefined, colors: false }
  switch (record.kind) {
    case 'output':
    case 'information':
      return renderValue(record.value, style).replace(/\n$/, '')
    case 'error':
      return record.error.name === 'NativeCommandError' ? record.error.message : `ERROR: ${record.error.message}`
    case 'progress':
      return [record.activity, record.status, record.percent === undefined ? '' : `${Math.round(record.percent)}%`]
        .filter(Boolean)
        .join('  ')
    case 'gap':
      return `(${record.dropped} records lost)`
    default:
      return `${record.kind.toUpperCase()}: ${renderValue(record.value, style)}`
  }
}

export const HELP: readonly string[] = [
  'keys',
  '  1 2 3  Tab         jobs, sessions, peers',
  '  up down  j k       move; PgUp PgDn Home End too',
  '  Enter              what a job is, and what it says; Escape goes back',
  '  s                  stop the job (asks)',
  '  r                  remove it, once it has ended',
  '  /  f               only rows with this text; Escape shows all again',
  '  ?                  this',
  '  q  Escape  Ctrl-C  leave; everything goes on',
]

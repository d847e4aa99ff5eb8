// How an output looks to a person: text as it is, jobs and sessions as tables, anything else as Node would print it.
import { inspect } from 'node:util'
import { className, type JobSnapshot, type SessionSnapshot } from '@errand/runtime/client'
import { jobTable } from './job.ts'
import { sessionTable } from './session.ts'
import { table } from './table.ts'

export interface ValueStyle {
  /** Width of the terminal that shows it; undefined in a pipe: one line a value, nothing cut. */
  readonly columns: number | undefined
  readonly colors: boolean
  /** PowerShell's tables for jobs and sessions are for listings only; here ours are shown. */
  readonly title?: (line: string) => string
}

/** A value as text, without the line end of its last line. */
export function renderValue(value: unknown, style: ValueStyle): string {
  if (typeof value === 'string') return value
  return (snapshots(value, style) ?? rows(value, style))?.trimEnd() ?? inspected(value, style)
}

/** A job or a session that a script returned, or a list of nothing else. */
function snapshots(value: unknown, style: ValueStyle): string | undefined {
  const items: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (items.length === 0) return undefined
  if (items.every((item) => className(item) === 'Job')) {
    return jobTable(
      items.map((item) => ({ job: item as JobSnapshot })),
      style,
    )
  }
  if (items.every((item) => className(item) === 'Session')) return sessionTable(items as SessionSnapshot[], style)
  return undefined
}

/** A list of flat objects with the same keys is a table; only for a person, who wants to compare the rows. */
function rows(value: unknown, style: ValueStyle): string | undefined {
  if (style.columns === undefined || !Array.isArray(value) || value.length < 2 || !value.every(isFlat)) return undefined
  const keys = Object.keys(value[0]!)
  if (keys.length === 0 || !value.every((item) => Object.keys(item).join('\n') === keys.join('\n'))) return undefined
  const cells = value.map((item) => keys.map((key) => renderCell(item[key])))
  return table(
    keys.map((title) => ({ title })),
    cells,
    { columns: style.columns, gap: '  ', ...(style.title && { title: style.title }) },
  )
}

function isFlat(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return Object.values(value).every((field) => typeof field !== 'object' || field === null || field instanceof Date)
}

function renderCell(value: unknown): string {
  if (typeof value === 'string') return value
  return value instanceof Date ? (Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()) : inspect(value)
}

function inspected(value: unknown, style: ValueStyle): string {
  dress(value, new Set())
  return inspect(value, {
    depth: 8,
    colors: style.colors,
    maxArrayLength: null,
    maxStringLength: null,
    ...(style.columns === undefined
      ? { compact: true, breakLength: Number.POSITIVE_INFINITY }
      : { breakLength: style.columns }),
  })
}

/**
 * What was an instance of a class elsewhere is data here; it is shown by its name, and what could not travel by what it
 * was: `[function jobs]`. What is ours to print is nobody else's to look at, so it may be dressed for that.
 */
function dress(value: unknown, seen: Set<unknown>): void {
  if (typeof value !== 'object' || value === null || seen.has(value) || ArrayBuffer.isView(value)) return
  seen.add(value)
  const name = Error.isError(value) ? undefined : className(value)
  if (name === 'Dropped') {
    const what = String((value as { $dropped?: unknown }).$dropped)
    Object.defineProperty(value, inspect.custom, {
      value: (_depth: number, { stylize }: { stylize: Stylize }) => stylize(`[${what}]`, 'special'),
    })
  } else if (name !== undefined && Object.getPrototypeOf(value) === Object.prototype) {
    Object.setPrototypeOf(value, { [name]: class {} }[name]!.prototype as object)
  }
  const items = value instanceof Map ? [...value.keys(), ...value.values()] : value instanceof Set ? value : undefined
  for (const item of items ?? Object.values(value)) dress(item, seen)
}
type Stylize = (text: string, style: 'special') => string

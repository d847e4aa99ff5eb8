// Tables: a header in capitals, no borders, one line a row; cut to a terminal's width and never cut in a pipe.
import { createRequire } from 'node:module'
import { stripVTControlCharacters } from 'node:util'

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
  /** Exactly so many cells wide, longer ones cut: PowerShell's tables. Default: as wide as its widest cell. */
  readonly width?: number
}

export interface TableStyle {
  /** Width of the terminal; undefined: never cut. */
  readonly columns?: number | undefined
  /** What stands between two columns. */
  readonly gap: string
  /** A line of dashes under the titles. */
  readonly ruled?: boolean
  /** Paints a whole title line. */
  readonly title?: (line: string) => string
}

/** The table as text, its last line ended. Nothing at all for no rows. */
export function table(columns: readonly Column[], rows: readonly (readonly string[])[], style: TableStyle): string {
  if (rows.length === 0) return ''
  const cells = rows.map((row) => row.map(oneLine))
  const widths = columns.map(({ title, width }, index) => {
    return width ?? Math.max(widthOf(title), ...cells.map((row) => widthOf(row[index] ?? '')))
  })
  const line = (row: readonly string[]): string => {
    const padded = columns.map(({ align }, index) => pad(cut(row[index] ?? '', widths[index]!), widths[index]!, align))
    const text = padded.join(style.gap).trimEnd()
    return style.columns === undefined ? text : cut(text, style.columns)
  }
  const titles = columns.map(({ title }) => title)
  const head = [line(titles)]
  if (style.ruled) head.push(line(titles.map((title) => '-'.repeat(widthOf(title)))))
  return [...head.map(style.title ?? ((text) => text)), ...cells.map(line)].map((text) => `${text}\n`).join('')
}

/** At most so many cells wide, the last of them `…` where something was left out. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  if (width <= 0) return ''
  let kept = ''
  let used = 0
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    used += widthOf(segment)
    if (used > width - 1) break
    kept += segment
  }
  return `${kept}…`
}

/** As many cells wide, filled with blanks; what is longer stays. */
export function pad(text: string, width: number, align: Column['align'] = 'left'): string {
  const blank = ' '.repeat(Math.max(0, width - widthOf(text)))
  return align === 'right' ? blank + text : text + blank
}

/** A script of many lines is one cell; nothing in it may move the cursor. */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what must not reach a terminal
  return text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, ' ').trim()
}

/** One line of a text, blanks as they are; nothing in it may move the cursor or change a colour. */
export function printable(line: string): string {
  const plain = stripVTControlCharacters(line).replaceAll('\t', '  ')
  // oxlint-disable-next-line no-control-regex -- control characters are what must not reach a terminal
  return plain.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '')
}

type StringWidth = typeof import('string-width').default
let stringWidth: StringWidth | undefined

/**
 * Cells of a terminal. What knows the width of every character takes as long to load as everything else of a listing
 * together, and most tables have letters only.
 */
export function widthOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  stringWidth ??= (createRequire(import.meta.url)('string-width') as { default: StringWidth }).default
  return stringWidth(text)
}

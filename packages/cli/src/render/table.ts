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
  return text.replace(/[\s\p{Cc}\u202a-\u202e\u2066-\u2069]+/gu, ' ').trim()
}

/** One line of a text, blanks as they are; nothing in it may move the cursor or change a colour. */
export function printable(line: string): string {
  return plainLines(line).replaceAll('\t', '  ').replaceAll('\n', ' ')
}

/** Lines of what somebody else wrote: nothing but line ends and tabs that a terminal obeys, nothing that turns letters around. */
export function plainLines(text: string): string {
  return OBEYED.test(text) ? stripVTControlCharacters(text).replaceAll(EACH_OBEYED, '') : text
}
const OBEYED = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/u
const EACH_OBEYED = new RegExp(OBEYED, 'gu')

/** The same of words of ours that were coloured: the colours we use ourselves stay, none that hides or inverts. */
export function plainWords(text: string): string {
  const pieces = text.split(COLORS)
  return pieces.map((piece, index) => (index % 2 === 1 ? piece : plainLines(piece))).join('')
}
// oxlint-disable-next-line no-control-regex -- colours are control characters
const COLORS = /(\u001b\[(?:[12]|22|3[1-6]|39|9[2-6])m)/

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

/** The same of a text with colours in it, which take none. */
export function shownWidth(text: string): number {
  return widthOf(stripVTControlCharacters(text))
}

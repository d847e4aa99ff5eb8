// What is known of one thing: a label and its value on each line.
import { plainLines } from './table.ts'

/**
 * Lines of `label value`, labels of one width; what is undefined or empty is left out, further lines are put below. Values
 * are anybody's words: nothing in them is obeyed by a terminal.
 */
export function facts(known: readonly (readonly [label: string, value: string | undefined])[]): string {
  const said = known.filter((one): one is readonly [string, string] => one[1] !== undefined && one[1] !== '')
  const width = Math.max(0, ...said.map(([label]) => label.length)) + 2
  return said
    .map(
      ([label, value]) =>
        `${label.padEnd(width)}${plainLines(value)
          .split('\n')
          .join(`\n${' '.repeat(width)}`)}\n`,
    )
    .join('')
}

/** A length of time, in its two largest units: `230 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`, `4 d 1 h`. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  // In tenths: 59.96 s would be said as 60.0.
  if (ms < 60_000 - 50) return `${(ms / 1_000).toFixed(1)} s`
  const units = [
    ['d', 86_400],
    ['h', 3_600],
    ['min', 60],
    ['s', 1],
  ] as const
  let rest = Math.round(ms / 1_000)
  const parts: string[] = []
  for (const [unit, seconds] of units) {
    const count = Math.floor(rest / seconds)
    rest -= count * seconds
    if (count > 0 || parts.length > 0) parts.push(count > 0 ? `${count} ${unit}` : '')
    if (parts.length === 2) break
  }
  return parts.filter((part) => part !== '').join(' ')
}

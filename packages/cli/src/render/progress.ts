// How far things are, for a person: a bar for each thing that jobs say they are at, and for each map.
import type { ItemCounts, Progress } from '@errand/runtime/client'
import { cut, oneLine, pad, shownWidth, widthOf } from './table.ts'

/** Cells of a bar, where there is room for one. */
const BAR = 20
/** Narrower terminals get no bar, only the number. */
const BAR_LEAST = 50

/** One line of what is shown. */
interface Bar {
  readonly label: string
  /** 0 to 100; undefined where nobody knows how much there is. */
  readonly percent: number | undefined
  readonly behind: string
}

export interface BarsStyle {
  /** Where it is said, before each bar; already in its colour. Default: nothing. */
  readonly where?: (location: string) => string
}

/** The bars of several jobs: each stands until what it is about is completed, or its job has ended. */
export class ProgressBars {
  readonly #said = new Map<string, { readonly location: string; readonly progress: Progress }>()
  readonly #maps = new Map<string, Bar>()

  /** Takes what a job says of one activity. */
  take(jobId: string, location: string, progress: Progress): void {
    const key = `${jobId} ${progress.activity}`
    if (progress.completed === true) this.#said.delete(key)
    else this.#said.set(key, { location, progress })
  }

  /** How far a map is; `total`: how many inputs there are, where that is known. */
  count(jobId: string, name: string, items: ItemCounts, total: number | undefined): void {
    const { done, failed, running } = items
    const over = done + failed
    const behind = [
      total === undefined ? `${over} done` : `${over}/${total}`,
      ...(running > 0 ? [`${running} at work`] : []),
      ...(failed > 0 ? [`${failed} failed`] : []),
    ]
    const percent = total === undefined || total === 0 ? undefined : (100 * over) / total
    this.#maps.set(jobId, { label: oneLine(name), percent, behind: behind.join('  ') })
  }

  /** Everything a job has begun is over. */
  end(jobId: string): void {
    for (const key of this.#said.keys()) if (key.startsWith(`${jobId} `)) this.#said.delete(key)
    this.#maps.delete(jobId)
  }

  /** At most half of the terminal's rows, each no wider than it is. */
  lines({ columns, rows }: { readonly columns: number; readonly rows: number }, style: BarsStyle = {}): string[] {
    const most = Math.max(1, Math.floor(rows / 2))
    const all = [
      ...[...this.#said.values()].map(({ location, progress }) => ({
        where: style.where?.(location) ?? '',
        bar: barOf(progress),
      })),
      ...[...this.#maps.values()].map((bar) => ({ where: '', bar })),
    ]
    const shown = all.length > most ? all.slice(0, most - 1) : all
    const width = columns - 1
    const label = Math.max(0, ...shown.map(({ bar }) => widthOf(bar.label)))
    const lines = shown.map(({ where, bar }) => lineOf(where, bar, width, label))
    if (all.length > shown.length) lines.push(cut(`… and ${all.length - shown.length} more`, width))
    return lines
  }
}

/** The label takes what the numbers leave it: those are what changes. */
function lineOf(where: string, { label, percent, behind }: Bar, width: number, labels: number): string {
  const room = width - shownWidth(where)
  const bar = percent !== undefined && width >= BAR_LEAST ? `${drawn(percent)} ` : ''
  const number = percent === undefined ? '' : `${String(Math.floor(percent)).padStart(3)}%`
  const right = `${bar}${number}${behind === '' ? '' : `${number === '' ? '' : '  '}${behind}`}`
  if (right === '') return `${where}${cut(label, room)}`
  const left = Math.max(0, Math.min(labels, room - widthOf(right) - 2))
  return `${where}${cut(`${pad(cut(label, left), left)}  ${right}`, room)}`
}

function barOf(progress: Progress): Bar {
  const { percent } = progress
  const left = leftOf(progress)
  return {
    label: nameOf(progress),
    percent: percent === undefined ? undefined : within(percent),
    behind: left === '' ? '' : `${left} left`,
  }
}

function nameOf({ activity, status }: Progress): string {
  return oneLine(status === undefined || status === '' ? activity : `${activity}: ${status}`)
}

function leftOf({ secondsRemaining }: Progress): string {
  return secondsRemaining === undefined || secondsRemaining < 0 ? '' : `${Math.round(secondsRemaining)}s`
}

function within(percent: number): number {
  return Math.min(100, Math.max(0, percent))
}

function drawn(percent: number): string {
  const full = Math.floor((percent / 100) * BAR)
  return `[${'#'.repeat(full)}${'-'.repeat(BAR - full)}]`
}

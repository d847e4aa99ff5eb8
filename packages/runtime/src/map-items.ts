// The items of a map, as its job shows them: counted, and a row only for those that failed.
import type { StoredItems } from './stored-job.ts'
import type { ItemCounts } from './surface.ts'

/** Items that failed of which a map keeps a row; more are only counted. */
export const ITEM_ROWS = 100_000

/** An item that failed: which input it was, and the number of the record that says so. */
export interface ItemRow {
  readonly index: number
  readonly seq: number
}

export class MapItems {
  /** Inputs that have come. */
  taken = 0
  /** Those whose script has returned, with or without an error. */
  ended = 0
  failed = 0
  running = 0
  /** Index and seq of each, one behind the other: a million maps of a million items have no room for objects. */
  readonly #rows: number[] = []

  add(index: number, seq: number): void {
    if (this.#rows.length < 2 * ITEM_ROWS) this.#rows.push(index, seq)
  }

  /** As they were written down: nothing runs any more. */
  static from({ taken, ended, failed, rows }: StoredItems): MapItems {
    const items = new MapItems()
    items.taken = taken
    items.ended = ended
    items.failed = failed
    for (let at = 0; at + 1 < rows.length; at += 2) items.add(rows[at]!, rows[at + 1]!)
    return items
  }

  stored(): StoredItems {
    const { taken, ended, failed } = this
    return { taken, ended, failed, rows: Float64Array.from(this.#rows) }
  }

  /** In the order in which they failed. */
  rows(from: number, limit: number): ItemRow[] {
    const rows: ItemRow[] = []
    for (let at = 2 * from; at < this.#rows.length && rows.length < limit; at += 2) {
      rows.push({ index: this.#rows[at]!, seq: this.#rows[at + 1]! })
    }
    return rows
  }

  counts(): ItemCounts {
    const { taken, ended, failed, running } = this
    return Object.freeze({
      taken,
      done: Math.max(0, ended - failed),
      failed,
      running,
      queued: Math.max(0, taken - ended - running),
    })
  }
}

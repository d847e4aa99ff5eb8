// One row of the store that follows something at work: written when it must be, and soon after it has changed.
import type { RowKind, StoredRows } from './store/store.ts'

/** Changes of one turn after the other go into one row, milliseconds: most jobs are over before. */
const SOON_MS = 50

export class KeptRow {
  readonly #rows: StoredRows
  readonly #kind: RowKind
  readonly #key: string
  readonly #value: () => unknown
  #soon: NodeJS.Timeout | undefined
  /** A write of a change is under way: the next one waits for it. */
  #writing = false
  #dirty = false
  #over = false
  #there: boolean

  /** `value`: what it is at that moment; `there`: it was written before. */
  constructor(rows: StoredRows, kind: RowKind, key: string, value: () => unknown, there = false) {
    this.#there = there
    this.#rows = rows
    this.#kind = kind
    this.#key = key
    this.#value = value
  }

  /** For what is asked for. @throws StoreError, or what cannot be encoded: nothing was written */
  async put(): Promise<void> {
    this.#settleSoon()
    const before = this.#there
    try {
      const written = this.#rows.put(this.#kind, this.#key, this.#value())
      this.#there = true
      await written
    } catch (error) {
      this.#there = before
      throw error
    }
  }

  /** For what has happened: waits while nothing can be written. */
  async note(): Promise<void> {
    this.#settleSoon()
    if (this.#over) return
    this.#there = true
    await this.#rows.put(this.#kind, this.#key, this.#value(), { patient: true })
  }

  /** Something is different: written soon, with what changes until then. Nobody waits for it. */
  changed(): void {
    if (this.#over) return
    this.#dirty = true
    if (!this.#writing) this.#soon ??= setTimeout(() => void this.#write(), SOON_MS).unref()
  }

  /** For the last time. `value`: what it will be from now on. */
  async conclude(value: unknown): Promise<void> {
    this.leave()
    await this.#rows.put(this.#kind, this.#key, value, { patient: true })
  }

  /** Nothing is written any more; the row stays as it is. */
  leave(): void {
    this.#over = true
    this.#settleSoon()
  }

  /** What was never written is not waited for. */
  async delete(): Promise<void> {
    this.leave()
    if (this.#there) await this.#rows.delete(this.#kind, this.#key)
  }

  #settleSoon(): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    this.#dirty = false
  }

  async #write(): Promise<void> {
    this.#writing = true
    this.#settleSoon()
    // Refused now: the next change, or the ending, tries again.
    await this.#rows.put(this.#kind, this.#key, this.#value()).catch(() => undefined)
    this.#writing = false
    if (this.#dirty) this.changed()
  }
}

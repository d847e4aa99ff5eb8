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

  /** For what has happened: waits while nothing can be written. Rejects when it never will be; nobody need hear of that. */
  note(): Promise<void> {
    this.#settleSoon()
    if (this.#over) return Promise.resolve()
    this.#there = true
    return heardOrNot((async () => this.#rows.put(this.#kind, this.#key, this.#value(), { patient: true }))())
  }

  /** Something is different: written soon, with what changes until then, or as soon as it can be. Nobody waits for it. */
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

  /** What was never written is not waited for. Rejects when it never will be gone; nobody need hear of that. */
  delete(): Promise<void> {
    this.leave()
    return this.#there ? heardOrNot(this.#rows.delete(this.#kind, this.#key)) : Promise.resolve()
  }

  #settleSoon(): void {
    clearTimeout(this.#soon)
    this.#soon = undefined
    this.#dirty = false
  }

  async #write(): Promise<void> {
    this.#writing = true
    // Also without room now: what changed once may never change again. There is one such write at a time.
    await this.note().catch(() => undefined)
    this.#writing = false
    if (this.#dirty) this.changed()
  }
}

/** The same, which may also be forgotten: a store that is gone ends no program by it. */
function heardOrNot(written: Promise<void>): Promise<void> {
  written.catch(() => undefined)
  return written
}

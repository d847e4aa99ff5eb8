// The journal of one durable machine, and the row beside it: what is read again after a restart.
//
// An entry is accepted when it survives the end of this process (store.ts); a row is put when it is on disk, and only then
// what it makes needless is forgotten: at every instant the row and what lies behind it are all there is to know.
import { chunksOf, entriesOf, type Entry } from './actor-entry.ts'
import type { Numbered } from './actor-replay.ts'
import type { StoredActor } from './stored-actor.ts'
import type { Store, StoredLog, StoredRows } from './store/store.ts'

/** How much is read at a time. */
const READ_BYTES = 256 * 1024

/** Its journal is a log beside that of its job. */
export function journalName(key: string): string {
  return `${key} journal`
}

/** What was appended: as it will be read again, whatever it was before. */
export interface Appended {
  readonly entries: readonly Numbered[]
  /** @throws StoreError: none of them is there, nor what was appended behind them */
  readonly accepted: Promise<void>
}

export class ActorJournal {
  readonly key: string
  readonly #rows: StoredRows
  readonly #log: StoredLog
  #keeping: Promise<void> | undefined
  #hasRow: boolean

  private constructor(rows: StoredRows, key: string, log: StoredLog, hasRow: boolean) {
    this.key = key
    this.#rows = rows
    this.#log = log
    this.#hasRow = hasRow
  }

  /** `isNew`: there never was one; `hasRow`: there is a row, too. @throws StoreError */
  static async open(
    store: Store,
    rows: StoredRows,
    key: string,
    { isNew = false, hasRow = !isNew }: { isNew?: boolean; hasRow?: boolean } = {},
  ): Promise<ActorJournal> {
    const log = await store.log(journalName(key), isNew)
    // What a crash of the host took was told to nobody: its numbers are free again, and no hole is left behind them.
    if (!isNew) log.rewind?.()
    return new ActorJournal(rows, key, log, hasRow)
  }

  /** The number that the next entry gets. */
  get next(): number {
    return this.#log.end
  }

  /** @throws NotTransferableError, TooLargeError, StoreError: nothing was written */
  append(entries: readonly Entry[]): Appended {
    const numbered: Numbered[] = []
    const accepted: Promise<unknown>[] = []
    for (const chunk of chunksOf(entries)) {
      const first = this.#log.end
      accepted.push(Promise.resolve(this.#log.append({ ...chunk, first })))
      for (const [index, entry] of entriesOf(chunk).entries()) numbered.push([first + index, entry])
    }
    return { entries: numbered, accepted: Promise.all(accepted).then(() => undefined) }
  }

  /** From entry `from` on. A text: some of them are missing. @throws StoreError, or what `entriesOf` throws */
  async read(from: number): Promise<Numbered[] | string> {
    const found: Numbered[] = []
    let next = from
    while (next < this.#log.end) {
      const chunks = await this.#log.read(next, READ_BYTES)
      for (const chunk of chunks) {
        const end = chunk.first + chunk.count
        if (end <= next) continue
        if (chunk.first > next) return missing(next, chunk.first)
        for (const [index, entry] of entriesOf(chunk).entries())
          if (chunk.first + index >= next) found.push([chunk.first + index, entry])
        next = end
      }
      if (chunks.length === 0) return missing(next, this.#log.end)
    }
    return found
  }

  /** A row is on disk: only then anything may lie in the journal. */
  get hasRow(): boolean {
    return this.#hasRow
  }

  /** A row is on its way: another one would only wait for it. */
  get keeping(): boolean {
    return this.#keeping !== undefined
  }

  /**
   * Settles when it is on disk and what comes before it is forgotten; waits while nothing can be written.
   * @throws StoreError, NotTransferableError, TooLargeError: the row is as it was
   */
  keep(row: StoredActor): Promise<void> {
    const keeping = this.#keep(row).finally(() => {
      if (this.#keeping === keeping) this.#keeping = undefined
    })
    return (this.#keeping = keeping)
  }

  async #keep(row: StoredActor): Promise<void> {
    await this.#rows.put('actor', this.key, row, { patient: true })
    this.#hasRow = true
    // Not in one turn with the row: where there is no room a store forgets first.
    await this.#log.forget(row.next)
  }
}

function missing(from: number, to: number): string {
  return `entries ${from} to ${to - 1} of its journal are missing`
}

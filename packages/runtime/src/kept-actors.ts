// Where the durable machines of a peer are written down, and what its start has found of those that were at work.
import { ActorJournal, journalName } from './actor-journal.ts'
import type { Store, StoredRows } from './store/store.ts'

export class KeptActors {
  readonly #store: Store
  readonly #rows: StoredRows
  /** Rows as they were found, until somebody goes on with them. */
  readonly #found: Map<string, unknown>

  constructor(store: Store, rows: StoredRows, found: ReadonlyMap<string, unknown> = new Map()) {
    this.#store = store
    this.#rows = rows
    this.#found = new Map(found)
  }

  /** What is written of it; undefined: nothing. */
  found(key: string): unknown {
    return this.#found.get(key)
  }

  /** @throws StoreError */
  journal(key: string, how: Parameters<typeof ActorJournal.open>[3]): Promise<ActorJournal> {
    return ActorJournal.open(this.#store, this.#rows, key, how)
  }

  /**
   * It is not needed any more: its job has ended, or begins anew. What of this a crash prevents is done at the next start:
   * neither belongs to a job that is at work then.
   */
  drop(key: string): void {
    this.#found.delete(key)
    this.#rows.delete('actor', key).catch(() => undefined)
    void this.#store.dropLog(journalName(key))
  }
}

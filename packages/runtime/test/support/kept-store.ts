// A disk that survives its peers: a store over memory which the next peer opens again, also where the last one was killed.
import { decode, encode } from '@errand/transport'
import { memoryStore } from '../../src/store/memory.ts'
import type { RowKind, Store, StoredRows } from '../../src/store/store.ts'

export interface KeptDisk {
  /** For one peer at a time. */
  open(): Store
  /** Its peer was killed in this instant: whatever it still does with its store has no effect and never settles. */
  kill(): void
  /** As they lie there. */
  rows(kind: RowKind): { readonly key: string; readonly value: unknown }[]
}

export function keptDisk(options: { logLimit?: number } = {}): KeptDisk {
  const logs = memoryStore(options)
  const rows = new Map<RowKind, Map<string, Uint8Array>>()
  const of = (kind: RowKind): Map<string, Uint8Array> => {
    const known = rows.get(kind)
    if (known) return known
    const made = new Map<string, Uint8Array>()
    rows.set(kind, made)
    return made
  }
  const all = (kind: RowKind): { key: string; value: unknown }[] =>
    [...of(kind)].map(([key, bytes]) => ({ key, value: decode(bytes) }))
  const never = (): Promise<never> => new Promise(() => undefined)
  let alive: { yes: boolean } = { yes: false }
  return {
    rows: all,
    kill() {
      alive.yes = false
    },
    open() {
      alive.yes = false
      const mine: { yes: boolean } = { yes: true }
      alive = mine
      // As a disk does, it takes its time; one write behind the other.
      let last: Promise<void> = Promise.resolve()
      const write = (act: () => void): Promise<void> => {
        const done = last.then(() => new Promise<void>((resolve) => setImmediate(resolve)))
        return (last = done.then(() => (mine.yes ? act() : never())))
      }
      const kept: StoredRows = {
        all: async (kind) => all(kind),
        put(kind, key, value) {
          const bytes = encode(value).slice()
          return write(() => void of(kind).set(key, bytes))
        },
        delete: (kind, key) => write(() => void of(kind).delete(key)),
      }
      return {
        logLimit: logs.logLimit,
        rows: kept,
        async log(job) {
          const log = await logs.log(job)
          // Of a peer that is dead nothing is heard any more.
          return new Proxy(log, {
            get(target, name) {
              const value: unknown = Reflect.get(target, name)
              if (typeof value !== 'function') return value
              const changes = name !== 'read' && name !== 'cursor' && name !== 'bytesFrom'
              return (...given: unknown[]) => (mine.yes || !changes ? Reflect.apply(value, target, given) : never())
            },
          })
        },
        dropLog: (job) => (mine.yes ? logs.dropLog(job) : undefined),
        async [Symbol.asyncDispose]() {
          await last
          mine.yes = false
        },
      }
    },
  }
}

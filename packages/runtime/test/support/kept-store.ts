// A disk that survives its peers: a store over memory which the next peer opens again, also where the last one was killed.
import { decode, encode } from '@errand/transport'
import { ErrandError } from '../../src/errors.ts'
import { memoryStore } from '../../src/store/memory.ts'
import type { RowKind, Store, StoredRows } from '../../src/store/store.ts'

export interface KeptDisk {
  /** For one peer at a time. `writes`: it is killed in the instant when so many have reached the disk. */
  open(options?: { writes?: number }): Store
  /** Its peer was killed in this instant: whatever it still does with its store has no effect and never settles. */
  kill(): void
  /** Settles when the peer that has it now was killed. */
  readonly killed: Promise<void>
  /** What the dead still wait for settles, without effect, so that they can be closed. Nobody may look at them any more. */
  bury(): void
  /** From now on nothing can be written, or again: what is asked for is refused, what has happened waits. */
  full(yes: boolean): void
  /** Logs that were opened since then. */
  readonly opened: number
  /** Writes that reached it since it was opened last. */
  readonly writes: number
  /** As they lie there. */
  rows(kind: RowKind): { readonly key: string; readonly value: unknown }[]
  /** Puts something there by hand. */
  place(kind: RowKind, key: string, value: unknown): void
  /** Names of the logs that have something in them. */
  logs(): string[]
}

interface Life {
  yes: boolean
  hurried?: boolean
  left: number
  readonly dead: PromiseWithResolvers<void>
}

export function keptDisk(options: { logLimit?: number } = {}): KeptDisk {
  const logs = memoryStore(options)
  const names = new Set<string>()
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
  const grave = Promise.withResolvers<void>()
  let room = Promise.withResolvers<void>()
  room.resolve()
  let isFull = false
  let writes = 0
  let opened = 0
  const never = (): Promise<never> => grave.promise as Promise<never>
  const life = (left = Number.POSITIVE_INFINITY): Life => ({ yes: true, left, dead: Promise.withResolvers() })
  const die = (one: Life): void => {
    one.yes = false
    one.dead.resolve()
  }
  let alive = life(0)
  die(alive)
  /** One write has reached the disk: it may have been the last. */
  const wrote = (one: Life): void => {
    writes++
    if (--one.left <= 0) die(one)
  }
  return {
    rows: all,
    get killed() {
      return alive.dead.promise
    },
    get opened() {
      return opened
    },
    get writes() {
      return writes
    },
    place: (kind, key, value) => void of(kind).set(key, encode(value).slice()),
    logs: () => [...names].filter((name) => (logs.log(name) as { end: number }).end > 0),
    kill: () => die(alive),
    bury() {
      grave.resolve()
      room.resolve()
    },
    full(yes) {
      isFull = yes
      if (yes) room = Promise.withResolvers()
      else room.resolve()
    },
    open(given = {}) {
      die(alive)
      const mine = life(given.writes)
      alive = mine
      writes = 0
      opened = 0
      // As a disk does, it takes its time; one write behind the other.
      let last: Promise<void> = Promise.resolve()
      const write = (act: () => void, patient: boolean): Promise<void> => {
        const turn = last.then(() => new Promise<void>((resolve) => setImmediate(resolve)))
        const done = turn.then(async () => {
          while (mine.yes && isFull && patient && !mine.hurried) await room.promise
          if (mine.yes && isFull) throw new ErrandError('STORE', 'the disk is full')
          if (!mine.yes) return never()
          act()
          wrote(mine)
          return mine.yes ? undefined : never()
        })
        last = done.catch(() => undefined)
        return done
      }
      const kept: StoredRows = {
        all: async (kind) => all(kind),
        put(kind, key, value, { patient = false } = {}) {
          const bytes = encode(value).slice()
          return write(() => void of(kind).set(key, bytes), patient)
        },
        delete: (kind, key) => write(() => void of(kind).delete(key), true),
      }
      return {
        logLimit: logs.logLimit,
        rows: kept,
        async log(job) {
          names.add(job)
          opened++
          const log = await logs.log(job)
          // Of a peer that is dead nothing is heard any more.
          return new Proxy(log, {
            get(target, name) {
              const value: unknown = Reflect.get(target, name)
              if (typeof value !== 'function') return value
              const changes = name === 'append' || name === 'setCursor' || name === 'begin' || name === 'forget'
              return (...args: unknown[]) => {
                if (!mine.yes && (changes || name === 'pack')) return name === 'append' ? never() : undefined
                const result: unknown = Reflect.apply(value, target, args)
                if (changes) wrote(mine)
                return name === 'append' && !mine.yes ? never() : result
              }
            },
          })
        },
        logs: async () => [...names],
        hurry() {
          mine.hurried = true
          room.resolve()
        },
        dropLog(job) {
          if (!mine.yes) return
          names.delete(job)
          void logs.dropLog(job)
          wrote(mine)
        },
        async [Symbol.asyncDispose]() {
          await last
          die(mine)
        },
      }
    },
  }
}

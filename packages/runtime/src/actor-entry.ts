// What is written in the journal of a durable machine: everything that reaches it, before it does, and what cannot be found
// out again from that. Arrays that begin with what they are; their form is that of the row beside the journal (ACTOR_ROW).
import { createChunkWriter, decodeChunk } from '@errand/transport'
import { count, maybe, oneOf, shape, text, type Check } from './checks.ts'
import { ProtocolError } from './errors.ts'
import { isMoment, type Moment } from './moment.ts'
import type { RawChunk } from './record.ts'

/** An event, as XState takes it. */
export interface EntryEvent {
  readonly type: string
  readonly [field: string]: unknown
}

/** It was sent to it: by another, who numbers what it sends, or by itself. */
export interface EventEntry {
  readonly kind: 'event'
  /** Milliseconds since 1970. */
  readonly at: number
  readonly event: EntryEvent
  readonly from?: string | undefined
  readonly seq?: number | undefined
}
/** One of its timers was due. */
export interface TimerEntry {
  readonly kind: 'timer'
  readonly at: number
  /** Its number; its event's type is there for charts that have changed since. */
  readonly timer: number
  readonly type: string
}
/** Something that it had invoked has come to an end. */
export interface SettledEntry {
  readonly kind: 'settled'
  readonly at: number
  /** Id of the child, and how many entries there were when it was begun: there may be another one of that id since. */
  readonly child: string
  readonly since: number
  readonly failed: boolean
  /** Its output, or its error. */
  readonly value: unknown
}
/** What is before `upTo` is handled from here on: of that no action is ever run again. */
export interface BegunEntry {
  readonly kind: 'begun'
  readonly upTo: number
}
/** The timers that were set by what is before `upTo` had been by then. */
export interface TimedEntry {
  readonly kind: 'timed'
  readonly upTo: number
  readonly by: Moment
}
/** It has ended. `said`: records of its job before that of its output. */
export interface OverEntry {
  readonly kind: 'over'
  readonly how: 'done' | 'error' | 'stopped'
  readonly said: number
  readonly error?: unknown
}
/** Those that are handled. */
export type InputEntry = EventEntry | TimerEntry | SettledEntry
export type Entry = InputEntry | BegunEntry | TimedEntry | OverEntry

/** Append only. */
const KINDS = ['event', 'timer', 'settled', 'begun', 'timed', 'over'] as const satisfies readonly Entry['kind'][]

const event = shape({ type: text })
const CHECKS: Record<Entry['kind'], Check> = {
  event: shape({ at: count, event, from: maybe(text), seq: maybe(count) }),
  timer: shape({ at: count, timer: count, type: text }),
  settled: shape({ at: count, child: text, since: count, failed: oneOf(true, false) }),
  begun: shape({ upTo: count }),
  timed: shape({ upTo: count, by: isMoment }),
  over: shape({ how: oneOf('done', 'error', 'stopped'), said: count }),
}

/** A chunk closes at this size; a larger entry is a chunk alone. */
const CHUNK_BYTES = 64 * 1024

/** As they lie in the journal. @throws NotTransferableError, TooLargeError: nothing is to be written */
export function chunksOf(entries: readonly Entry[]): RawChunk[] {
  const chunks: RawChunk[] = []
  const writer = createChunkWriter()
  const close = (): void => {
    const { count } = writer
    if (count > 0) chunks.push({ count, errors: 0, bytes: writer.finish() })
  }
  for (const entry of entries) {
    writer.add(written(entry))
    if (writer.bytes >= CHUNK_BYTES) close()
  }
  close()
  return chunks
}

/** What is in such a chunk. @throws ProtocolError, MalformedError, TooLargeError where it is not understood */
export function entriesOf({ count, bytes }: RawChunk): Entry[] {
  const items = decodeChunk(bytes, undefined, { copy: true })
  if (items.length !== count) throw new ProtocolError(`${items.length} entries where there should be ${count}`)
  return items.map((item) => {
    const [code, ...fields] = Array.isArray(item) ? (item as unknown[]) : []
    const kind = KINDS[code as number]
    if (kind === undefined) throw new ProtocolError(`an entry of kind ${String(code)}`)
    const entry = read(kind, fields)
    if (!CHECKS[kind](entry)) throw new ProtocolError(`a field of an entry (${kind}) does not fit`)
    return entry
  })
}

function written(entry: Entry): readonly unknown[] {
  const code = KINDS.indexOf(entry.kind)
  switch (entry.kind) {
    case 'event':
      return entry.from === undefined
        ? [code, entry.at, entry.event]
        : [code, entry.at, entry.event, entry.from, entry.seq]
    case 'timer':
      return [code, entry.at, entry.timer, entry.type]
    case 'settled':
      return [code, entry.at, entry.child, entry.since, entry.failed, entry.value]
    case 'begun':
      return [code, entry.upTo]
    case 'timed':
      return [code, entry.upTo, entry.by]
    case 'over':
      return [code, entry.how, entry.said, entry.error]
  }
}

function read(kind: Entry['kind'], [a, b, c, d, e]: readonly unknown[]): Entry {
  switch (kind) {
    case 'event':
      return { kind, at: a as number, event: b as EntryEvent, from: c as string, seq: d as number }
    case 'timer':
      return { kind, at: a as number, timer: b as number, type: c as string }
    case 'settled':
      return { kind, at: a as number, child: b as string, since: c as number, failed: d as boolean, value: e }
    case 'begun':
      return { kind, upTo: a as number }
    case 'timed':
      return { kind, upTo: a as number, by: b as Moment }
    case 'over':
      return { kind, how: a as OverEntry['how'], said: b as number, error: c }
  }
}

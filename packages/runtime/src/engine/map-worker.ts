// Who works for a map: a thread of its own, or a session on another peer. The map gives both parts of its inputs, takes
// in what they say, and hears how they end.
import type { Alarm } from '../alarm.ts'
import { asError, ProtocolError } from '../errors.ts'
import type { Ending, StopRequest } from '../job-machine.ts'
import type { RawChunk } from '../record.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { partBytes, type InputChunk, type Part } from './map-inputs.ts'
import { blockChunk, markOf, orderChunk } from './map-order.ts'
import { MapPage } from './map-page.ts'
import { chunkOfSaved } from './map-records.ts'
import type { Warm } from './spare.ts'

/** A part that a worker has. */
export interface Given {
  readonly part: Part
  /** Items its worker had been given before it. */
  readonly before: number
  begunAt: number
  limit: Alarm | undefined
}

/** What a map hears of its workers. */
export interface MapWorkerEvents {
  begun(worker: MapWorker): void
  chunk(worker: MapWorker, chunk: RawChunk): void
  /** The part with this number is done, and all it said has come. */
  done(worker: MapWorker, seq: number): void
  lost(worker: MapWorker, reason: Error): void
  back(worker: MapWorker): void
  still(worker: MapWorker): void
  asked: NonNullable<ExecutionIO['asked']>
  answered: NonNullable<ExecutionIO['answered']>
  /** Nothing of it is left. */
  ended(worker: MapWorker, ending: Ending): void
}

export abstract class MapWorker {
  /** Counted from 1 within its map. */
  readonly number: number
  /** Oldest first. */
  readonly parts: Given[] = []
  /** Items it has. */
  held = 0
  /** Items it has been given, ever. */
  given = 0
  /** How many it is given next. */
  size = 1
  /** Items it may have under way at once. */
  lanes: number
  /** It is there, and works. */
  ready = false
  readyAt = 0
  /** It cannot be reached now. */
  away = false
  still = false
  /** It gets no more. */
  leaving = false

  constructor(number: number, lanes: number) {
    this.number = number
    this.lanes = lanes
  }

  abstract readonly execution: Execution
  /** What it is called where it fails. */
  abstract readonly place: string
  /** Items that are done, and those under way. */
  abstract get done(): number
  abstract get running(): number
  /** For so many milliseconds it has had something to do. */
  abstract get busy(): number
  abstract give(part: Part): void
  /** There is nothing more for it. */
  abstract dismiss(): void

  /** Puts a part among those it has. */
  protected hold(part: Part): void {
    const count = part.to - part.from
    this.parts.push({ part, before: this.given, begunAt: performance.now(), limit: undefined })
    this.held += count
    this.given += count
  }

  /** It is through with it. */
  release(seq: number): Given | undefined {
    const place = this.parts.findIndex(({ part }) => part.seq === seq)
    const [given] = place < 0 ? [] : this.parts.splice(place, 1)
    if (!given) return undefined
    given.limit?.cancel()
    this.held -= given.part.to - given.part.from
    return given
  }

  stop(request: StopRequest): void {
    this.execution.stop(request)
  }
}

/** A thread of the pool, for this map alone. */
export class ThreadWorker extends MapWorker {
  readonly execution: Execution
  readonly place = 'its thread'
  readonly page: MapPage
  readonly #warm: Warm
  /** The chunk it has. */
  #chunk: InputChunk | undefined
  #received = 0

  constructor(number: number, lanes: number, warm: Warm, spec: ExecutionSpec, events: MapWorkerEvents) {
    super(number, lanes)
    this.#warm = warm
    this.page = new MapPage(warm.isolate.page!)
    this.execution = warm.lane.start(
      spec,
      {
        chunk: (chunk) => {
          this.#received++
          events.chunk(this, chunk)
        },
        begun: () => {
          this.ready = true
          this.readyAt = performance.now()
          events.begun(this)
        },
        inputRead: (seq) => events.done(this, seq),
        asked: (question) => events.asked({ ...question, id: `${number}-${question.id}` }),
        answered: (question, refusal) => events.answered(`${number}-${question}`, refusal),
        suspended: () => {
          this.still = true
          events.still(this)
        },
        ended: (ending) => {
          for (const { limit } of this.parts) limit?.cancel()
          warm.isolate.kill()
          void warm.isolate.exited.then(() => {
            // What it had said and not sent when it died.
            const saved = chunkOfSaved(this.page.saved(this.#received))
            if (saved) events.chunk(this, saved)
            events.ended(this, ending)
          })
        },
      },
      { tells: 'begun' },
    )
  }

  get done(): number {
    return this.page.done
  }
  get running(): number {
    return this.page.begun - this.page.done
  }
  get busy(): number {
    return this.page.busy
  }

  give(part: Part): void {
    const { seq, chunk, from, to } = part
    const bytes = chunk === this.#chunk ? undefined : chunk.bytes
    this.#chunk = chunk
    this.hold(part)
    this.execution.input?.(orderChunk({ seq, first: chunk.first, from, to, lanes: this.lanes, bytes }))
  }

  dismiss(): void {
    this.leaving = true
    this.kill()
  }

  /** By force. */
  kill(): void {
    this.#warm.isolate.kill()
  }

  override stop(request: StopRequest): void {
    // Nothing of the script is under way in one that has nothing.
    if (this.held === 0) this.kill()
    else super.stop(request)
  }
}

/** Where a map's items may be done. */
export interface MapPlace {
  readonly location: string
  readonly engine: Engine
}

/** A session on another peer, in which a map of its own works for this one. */
export class PeerWorker extends MapWorker {
  readonly execution: Execution
  readonly place: string
  /** Records that have come. */
  #received = 0
  #done = 0

  constructor(number: number, lanes: number, place: MapPlace, spec: ExecutionSpec, events: MapWorkerEvents) {
    super(number, lanes)
    this.place = place.location
    const { work } = spec
    const far = { ...work, startId: `${work.startId}.${number}`, map: { ...work.map, throttle: lanes, shared: true } }
    this.execution = place.engine.start(
      { ...spec, work: far },
      {
        chunk: (chunk, first = this.#received) => {
          // A copy may come again.
          if (first + chunk.count <= this.#received) return this.execution.credit(chunk.bytes.byteLength)
          this.#received = first + chunk.count
          const seq = readMark(chunk)
          if (seq === undefined) return events.chunk(this, chunk)
          this.execution.credit(chunk.bytes.byteLength)
          const given = this.parts.find(({ part }) => part.seq === seq)
          if (given) this.#done += given.part.to - given.part.from
          events.done(this, seq)
        },
        begun: () => {
          this.ready = true
          this.readyAt = performance.now()
          events.begun(this)
        },
        asked: (question) => events.asked({ ...question, id: `${number}-${question.id}` }),
        answered: (question, refusal) => events.answered(`${number}-${question}`, refusal),
        suspended: () => {
          this.still = true
          events.still(this)
        },
        lost: (reason) => {
          this.away = true
          events.lost(this, reason)
        },
        back: () => {
          this.away = false
          events.back(this)
        },
        ended: (ending) => events.ended(this, ending),
      },
    )
  }

  get done(): number {
    return this.#done
  }
  get running(): number {
    return Math.min(this.held, this.lanes)
  }
  get busy(): number {
    return 0 // nobody starts another peer because this one is
  }

  give(part: Part): void {
    this.hold(part)
    const { seq, chunk, from, to } = part
    const block = { seq, first: chunk.first + from, count: to - from, bytes: partBytes(part) }
    this.execution.input?.(blockChunk(block))
  }

  dismiss(): void {
    this.leaving = true
    if (this.ready) this.execution.endInput?.()
    // Nobody waits for one that is not even there.
    else this.execution.stop({ grace: 0 })
  }
}

function readMark(chunk: RawChunk): number | undefined {
  try {
    return markOf(chunk)
  } catch {
    return undefined // whoever reads the record hears what is wrong with it
  }
}

/** How it ended, where it should not have. */
export function endingError(ending: Ending): Error {
  if (ending.outcome === 'failed') return ending.error
  return asError(('error' in ending && ending.error) || new ProtocolError(`it ended early: ${ending.outcome}`))
}

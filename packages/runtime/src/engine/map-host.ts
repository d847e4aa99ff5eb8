// The inside of a map's thread: calls the script for each input of the parts it is given.
//
// An item that does not wait costs its call and little else. One that does is waited for, or, where several may be under
// way at once, followed while the next ones begin. After each, what it said is saved before it counts as done.
import { Alarm } from '../alarm.ts'
import { asError, ProtocolError, TimeoutError } from '../errors.ts'
import type { Ending } from '../job-machine.ts'
import { valuesOf, type RecordWriter } from '../record.ts'
import type { ScriptContext } from '../surface.ts'
import { orderOf, type Order } from './map-order.ts'
import { MapPage, PAGE_BYTES } from './map-page.ts'
import type { Rest } from './rest.ts'
import type { ScriptInput } from './script-input.ts'

/** Of the execution, and of an item with a time limit. */
interface Running {
  readonly writer: RecordWriter
  readonly abort: AbortController
  readonly input: ScriptInput
  readonly rest: Rest
}

/** What the loop needs of its host. */
export interface MapTools<R extends Running> {
  readonly running: R
  /** None: nobody looks at it. */
  readonly page: SharedArrayBuffer | undefined
  readonly itemTimeout: number | undefined
  readonly call: (ctx: ScriptContext, value: unknown) => unknown
  readonly context: (running: R) => ScriptContext
  /** Writes what the call gave; a promise where that has to be waited for. */
  readonly finish: (value: unknown, running: R) => Promise<unknown> | undefined
  readonly sayError: (writer: RecordWriter, error: Error, item: number) => void
  readonly mustPause: (running: R, turn: number) => boolean
  readonly pause: (running: R, turn: number) => Promise<number>
}

const SOON: Promise<void> = Promise.resolve()

/** A part that is being worked on. */
interface Open {
  readonly seq: number
  left: number
  allBegun: boolean
}

export class MapLoop<R extends Running> {
  readonly #tools: MapTools<R>
  readonly #running: R
  readonly #page: MapPage
  readonly #ctx: ScriptContext
  #values: unknown[] = []
  /** Items that are followed, and who waits until there are fewer. */
  #flying = 0
  #inPart = false
  #landed = Promise.withResolvers<void>()
  #turn = Date.now()
  /** Chunks that had been sent when the last item was saved. */
  #posted = 0

  constructor(tools: MapTools<R>) {
    this.#tools = tools
    this.#running = tools.running
    this.#page = new MapPage(tools.page ?? new SharedArrayBuffer(PAGE_BYTES))
    this.#ctx = tools.context(tools.running)
  }

  async run(): Promise<Ending> {
    const { input, abort } = this.#running
    const { signal } = abort
    // Who is stopped while it waits for more hears of it.
    signal.addEventListener('abort', () => input.end(), { once: true })
    for (;;) {
      // Not a place where it stands still: items may be under way, and without any the map knows that we rest.
      const chunk = await input.chunk()
      if (!chunk || signal.aborted) break
      this.#inPart = true
      this.#page.work(true)
      await this.#part(orderOf(chunk))
      this.#inPart = false
      if (this.#flying === 0) this.#page.work(false)
    }
    while (this.#flying > 0) await this.#landed.promise
    return signal.aborted ? { outcome: 'stopped' } : { outcome: 'completed', streamed: true }
  }

  async #part({ seq, first, from, to, lanes, bytes }: Order): Promise<void> {
    const { rest, abort } = this.#running
    if (bytes) this.#values = valuesOf({ count: 0, errors: 0, bytes })
    if (to > this.#values.length) throw new ProtocolError('a chunk of inputs holds fewer than it says')
    const open: Open = { seq, left: to - from, allBegun: false }
    for (let at = from; at < to; at++) {
      // It stands still when those under way do, or there are none.
      while (this.#flying >= lanes || (rest.wanted && this.#flying > 0)) await this.#landed.promise
      if (rest.wanted) await rest.while(undefined)
      if (abort.signal.aborted) return
      const item = first + at
      const value = this.#values[at]
      this.#values[at] = undefined
      const slot = this.#page.begin(item)
      const work = this.#begin(item, value)
      if (work === undefined) {
        const saving = this.#save()
        if (saving) await saving
        this.#page.end(slot)
        open.left--
      } else {
        this.#flying++
        void this.#follow(work, item, slot, open)
      }
      if (!rest.wanted && this.#tools.mustPause(this.#running, this.#turn))
        this.#turn = await this.#tools.pause(this.#running, this.#turn)
    }
    // Else the last one of those that are followed says it.
    open.allBegun = true
    if (open.left === 0) await this.#done(open)
  }

  /** Calls the script. A promise, where it is not over with that. */
  #begin(item: number, value: unknown): Promise<unknown> | undefined {
    const { call, finish, itemTimeout } = this.#tools
    try {
      if (itemTimeout === undefined) return finish(call(this.#ctx, value), this.#running)
      return this.#limited(itemTimeout, value)
    } catch (thrown) {
      this.#fail(item, thrown)
      return undefined
    }
  }

  async #follow(work: Promise<unknown>, item: number, slot: number, open: Open): Promise<void> {
    let stopped = false
    try {
      await work
    } catch (thrown) {
      // What is thrown after a stop is a way of stopping.
      stopped = this.#running.abort.signal.aborted
      if (!stopped) this.#fail(item, thrown)
    }
    await this.#save()
    if (!stopped) this.#page.end(slot)
    open.left--
    // Before the next one begins: what that says is behind it.
    if (open.allBegun && open.left === 0) await this.#done(open)
    this.#flying--
    if (this.#flying === 0 && !this.#inPart) this.#page.work(false)
    this.#landed.resolve()
    this.#landed = Promise.withResolvers()
  }

  #fail(item: number, thrown: unknown): void {
    const error = asError(thrown)
    // Which input it was about; an error that takes no fields stays as it is.
    const said = Object.isExtensible(error) ? Object.assign(error, { item }) : error
    this.#tools.sayError(this.#running.writer, said, item)
  }

  /** Until everything written so far would survive this thread; undefined: it does. */
  #save(): Promise<void> | undefined {
    const { writer } = this.#running
    if (writer.full || writer.sentChunks !== this.#posted) return this.#sent()
    this.#page.save(writer)
    return undefined
  }

  async #sent(): Promise<void> {
    const { writer, abort } = this.#running
    if (writer.full) await writer.ready(abort.signal)
    // What is sent leaves at the end of this turn of microtasks.
    await SOON
    if (writer.full) return // stopped meanwhile
    this.#posted = writer.sentChunks
    this.#page.save(writer)
  }

  /** All a part said goes ahead of the word that it is done. */
  async #done({ seq }: Open): Promise<void> {
    const { writer, abort, input } = this.#running
    await writer.sent(abort.signal)
    input.read(seq)
  }

  /** One item with a time limit: then its own signal aborts, and nobody waits for it any more. */
  async #limited(ms: number, value: unknown): Promise<void> {
    const { call, context, finish } = this.#tools
    const { signal } = this.#running.abort
    const own = new AbortController()
    const stop = (): void => own.abort(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
    const limit = new Alarm(ms, () => own.abort(new TimeoutError(`it took longer than ${ms} ms`)))
    const mine: R = { ...this.#running, abort: own }
    const over = Promise.withResolvers<never>()
    own.signal.addEventListener('abort', () => over.reject(own.signal.reason), { once: true })
    over.promise.catch(() => undefined) // it may abort after the item is over
    try {
      const work = finish(call(context(mine), value), mine)
      work?.catch(() => undefined) // what it still throws after its time is nobody's news
      await Promise.race([work, over.promise])
    } finally {
      limit.cancel()
      signal.removeEventListener('abort', stop)
    }
  }
}

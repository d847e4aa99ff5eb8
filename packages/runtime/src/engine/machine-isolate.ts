// Runs one machine in this isolate: the inside of its process. Imports the machine's module, and answers what the peer asks
// of the actor.
import { decode, type Channel } from '@errand/transport'
import { checkedAddress } from '../actor-address.ts'
import { ActorHost } from '../actor-host.ts'
import { ActorOutboxes } from '../actor-outboxes.ts'
import { ActorTurns } from '../actor-turns.ts'
import type { ActorPlace } from '../actor-way.ts'
import { imported } from '../definition-module.ts'
import { bounded } from '../machine-bounds.ts'
import { asError, ProtocolError } from '../errors.ts'
import type { OfferedSpec } from '../job-definition.ts'
import type { Ending } from '../job-machine.ts'
import { Link, type LinkServer } from '../link.ts'
import { checkedSpawnInput, MACHINES } from '../machine-definition.ts'
import { untilAborted } from '../output-log.ts'
import { OPEN_REQUESTS, type Address, type SessionEvent, type WireEvent } from '../wire.ts'
import { DeferredExecution } from './deferred-execution.ts'
import type { Engine, Execution, ExecutionIO, ExecutionSpec } from './engine.ts'
import { RequestWindow } from './request-window.ts'

/** Batches to actors elsewhere on their way to the peer at once, and their bytes. */
const PASSED_MOST = 256
const PASSED_BYTES = 4 * 1024 * 1024
/** So long what it has told others may take to leave when it has ended, in ms: some may take nothing, or be away. */
const LEAVING_MS = 2_000

export class MachineIsolate implements Engine, LinkServer {
  /** What the peer has on its way here is bounded by itself: as many questions as an actor may have, and a little more. */
  readonly openRequests: number = 2 * OPEN_REQUESTS
  readonly #link: Link
  readonly #turns = new ActorTurns()
  readonly #window = new RequestWindow(PASSED_MOST, PASSED_BYTES)
  readonly #outboxes = new ActorOutboxes(
    (place, event) => this.#passOn(place, event),
    () => undefined, // all goes one way, through the window
  )
  readonly #there = Promise.withResolvers<ActorHost>()
  #actor: ActorHost | undefined
  readonly #watching = new Set<(state: unknown) => void>()

  /** `channel`: to the peer. */
  constructor(channel: Channel) {
    this.#there.promise.catch(() => undefined) // whoever asks hears it
    this.#link = new Link(channel, channel, { client: 'host' }, this)
  }

  start(spec: ExecutionSpec, io: ExecutionIO): Execution {
    let over = false
    const waiting = new DeferredExecution(() => {
      over = true
      io.ended({ outcome: 'stopped' })
      return true
    })
    const begin = async (): Promise<void> => {
      try {
        const { job = '', module = '', payload } = spec.work as OfferedSpec
        const definition = bounded(await imported(MACHINES, job, module))
        const input = await checkedSpawnInput(definition, payload && decode(payload))
        // Stopped meanwhile it has nothing to begin any more.
        if (over) return
        const actor = new ActorHost(definition, input, spec.attempt ?? 1, this.#around(io), {
          turns: this.#turns,
          tell: (address, event) => this.#outboxes.to(checkedAddress(address)).send(event),
        })
        this.#actor = actor
        this.#there.resolve(actor)
        void actor.start()
        waiting.begin(actor, io)
      } catch (thrown) {
        const error = asError(thrown)
        this.#there.reject(error)
        if (over) return
        waiting.abandon()
        io.ended({ outcome: 'failed', error })
      }
    }
    void begin()
    return waiting
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** The process ends with the actor: what it showed last, and all that waits for an answer, leaves before that is said. */
  #around(io: ExecutionIO): ExecutionIO {
    return {
      chunk: (chunk) => io.chunk(chunk),
      suspended: () => io.suspended?.(),
      ended: (ending: Ending) => {
        const last = this.#actor!.state()
        for (const push of this.#watching) push(last)
        // Who listens is answered in the turn after the one in which he is woken.
        const end = (): void => void setImmediate(() => setImmediate(() => io.ended(ending)))
        // What it has told others is with the peer by then, or would be there too late.
        if (this.#outboxes.waiting === 0) end()
        else void untilAborted(this.#outboxes.flushed(), AbortSignal.timeout(LEAVING_MS)).then(end)
      },
    }
  }

  // ── what the peer asks ──────────────────────────────────────────────────────────────────────────────────────────────

  async handle(_: Link, to: Address, event: WireEvent, __: number | undefined, signal: AbortSignal): Promise<unknown> {
    const actor = this.#actor ?? (await this.#there.promise)
    switch (event.type) {
      case 'actor.tell':
        return actor.tell(event.from, event.seq, event.count, event.bytes, signal)
      case 'actor.ask':
        return actor.ask(event.event, event.timeout, signal, event)
      case 'actor.inspect':
        // The peer knows its address.
        return actor.inspect({ peer: '', session: '', instanceId: to.job ?? '' })
      case 'actor.transitions':
        return actor.happened(event.cursor, signal)
      default:
        throw new ProtocolError(`a machine's process is not asked ${event.type}`)
    }
  }

  watch(_: Link, __: Address, push: (state: unknown) => void): () => void {
    let left = false
    let unwatch: (() => void) | undefined
    this.#watching.add(push)
    const begin = (actor: ActorHost): void => {
      if (!left) unwatch = actor.watch(push)
    }
    if (this.#actor) begin(this.#actor)
    else this.#there.promise.then(begin, () => undefined)
    return () => {
      left = true
      this.#watching.delete(push)
      unwatch?.()
    }
  }

  read(): never {
    throw new ProtocolError("a machine's records go their own way")
  }

  // ── what it asks of the peer ────────────────────────────────────────────────────────────────────────────────────────

  #passOn({ peer, session, job }: ActorPlace, event: SessionEvent): Promise<unknown> {
    const bytes = event.type === 'actor.tell' ? event.bytes.byteLength : 0
    return this.#window.pass(() => this.#link.ask({ peer, session, job }, event), bytes)
  }
}

// The peers' side of the transport benchmarks: bytes over a bare libp2p stream or a TCP socket, written as well as
// they can be. Both ends of each exchange stand here, one below the other.

import { once } from 'node:events'
import type { Socket } from 'node:net'
import type { Stream } from '@libp2p/interface'

/** Bytes to and from the other process. */
export interface Wire {
  /** False: wait for `drained`. */
  send(bytes: Uint8Array): boolean
  drained(): Promise<unknown>
  /** Where bytes go from now on. */
  receive(take: (bytes: Uint8Array) => void): void
}

export function streamWire(stream: Stream): Wire {
  let take = (_bytes: Uint8Array): void => {}
  stream.addEventListener('message', (event) => {
    const { data } = event as unknown as { data: Uint8Array | Iterable<Uint8Array> }
    if (data instanceof Uint8Array) take(data)
    else for (const part of data) take(part)
  })
  return {
    send: (bytes) => stream.send(bytes),
    drained: () => new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true })),
    receive: (taker) => (take = taker),
  }
}

export function socketWire(socket: Socket): Wire {
  let take = (_bytes: Uint8Array): void => {}
  socket.setNoDelay(true)
  socket.on('data', (bytes: Buffer) => take(bytes))
  return {
    send: (bytes) => socket.write(bytes),
    drained: () => once(socket, 'drain'),
    receive: (taker) => (take = taker),
  }
}

/** Bytes of a message where messages are small. */
export const MESSAGE = 100
const HEADER = 4
const ANNOUNCEMENT = 8

/** Sends `count` times `bytes` and waits until the other process has said that it has them all. Seconds. */
export async function pour(wire: Wire, bytes: Uint8Array, count: number): Promise<number> {
  const announcement = new Uint8Array(ANNOUNCEMENT)
  new DataView(announcement.buffer).setFloat64(0, bytes.length * count)
  const arrived = new Promise<void>((resolve) => wire.receive(() => resolve()))
  const begun = performance.now()
  wire.send(announcement)
  for (let sent = 0; sent < count; sent++) if (!wire.send(bytes)) await wire.drained()
  await arrived
  return (performance.now() - begun) / 1000
}

export function sink(wire: Wire): void {
  const announcement = new Uint8Array(ANNOUNCEMENT)
  let announced = 0
  let missing = 0
  wire.receive((bytes) => {
    let at = 0
    if (missing === 0) {
      while (announced < ANNOUNCEMENT && at < bytes.length) announcement[announced++] = bytes[at++]!
      if (announced < ANNOUNCEMENT) return
      announced = 0
      missing = new DataView(announcement.buffer).getFloat64(0)
    }
    missing -= bytes.length - at
    if (missing === 0) wire.send(Uint8Array.of(1))
  })
}

/** A round trip of a message. */
export function roundTrip(wire: Wire, message: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    let missing = message.length
    wire.receive((bytes) => {
      missing -= bytes.length
      if (missing === 0) resolve()
    })
    wire.send(message)
  })
}

export function echo(wire: Wire): void {
  wire.receive((bytes) => wire.send(bytes))
}

/** Frames of a u32 length and a message; those of one turn leave as one send. */
class Frames {
  readonly #wire: Wire
  #slab = Buffer.allocUnsafeSlow(64 * 1024)
  #from = 0
  #to = 0
  #kept: Uint8Array = new Uint8Array(0)

  constructor(wire: Wire, take: (message: Uint8Array) => void) {
    this.#wire = wire
    wire.receive((bytes) => {
      const all = this.#kept.length === 0 ? bytes : Buffer.concat([this.#kept, bytes])
      const view = new DataView(all.buffer, all.byteOffset, all.length)
      let at = 0
      while (all.length - at >= HEADER) {
        const end = at + HEADER + view.getUint32(at)
        if (end > all.length) break
        take(all.subarray(at + HEADER, end))
        at = end
      }
      this.#kept = all.subarray(at)
    })
  }

  send(message: Uint8Array): void {
    const size = HEADER + message.length
    if (this.#to + size > this.#slab.length) {
      this.#flush()
      this.#slab = Buffer.allocUnsafeSlow(64 * 1024)
      this.#from = this.#to = 0
    }
    if (this.#from === this.#to) queueMicrotask(() => process.nextTick(() => this.#flush()))
    this.#slab.writeUInt32BE(message.length, this.#to)
    this.#slab.set(message, this.#to + HEADER)
    this.#to += size
  }

  #flush(): void {
    if (this.#from === this.#to) return
    this.#wire.send(this.#slab.subarray(this.#from, this.#to))
    this.#from = this.#to
  }
}

/** `count` requests, `flying` of them at a time, each answered under its number. Seconds. */
export async function ask(wire: Wire, flying: number, count: number): Promise<number> {
  const waiting = new Map<number, () => void>()
  const frames = new Frames(wire, (message) => {
    const id = idOf(message)
    waiting.get(id)!()
    waiting.delete(id)
  })
  let asked = 0
  const message = Buffer.alloc(MESSAGE, 120)
  const asker = async (): Promise<void> => {
    while (asked < count) {
      const id = asked++
      message.writeUInt32BE(id)
      await new Promise<void>((resolve) => {
        waiting.set(id, resolve)
        frames.send(message)
      })
    }
  }
  const begun = performance.now()
  await Promise.all(Array.from({ length: flying }, asker))
  return (performance.now() - begun) / 1000
}

export function answer(wire: Wire): void {
  const frames = new Frames(wire, (message) => frames.send(message))
}

function idOf(message: Uint8Array): number {
  return new DataView(message.buffer, message.byteOffset).getUint32(0)
}

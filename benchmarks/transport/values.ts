// Our side of the transport benchmarks: values over a channel. Both ends of each exchange stand here, one below the
// other; what a peer's program does in its place is in wire.ts.

import type { Channel } from '@errand/transport'

/** Who iterates a channel has it to itself; the exchanges of a run share one. */
export interface Talk {
  readonly channel: Channel
  readonly values: AsyncIterator<unknown, undefined>
}

export function talk(channel: Channel): Talk {
  return { channel, values: channel[Symbol.asyncIterator]() }
}

/**
 * Sends `count` times `value`, `burst` of them between two waits, until the other process has said that it has them all.
 * Seconds.
 */
export async function pour({ channel, values }: Talk, value: unknown, count: number, burst: number): Promise<number> {
  const begun = performance.now()
  await channel.send(count)
  for (let sent = 1; sent <= count; sent++) {
    const room = channel.send(value)
    if (sent % burst === 0) await room
  }
  if ((await values.next()).value !== count) throw new Error('not all values arrived')
  return (performance.now() - begun) / 1000
}

export async function sink(channel: Channel): Promise<void> {
  let announced = 0
  let missing = 0
  for await (const value of channel) {
    if (missing === 0) announced = missing = value as number
    else if (--missing === 0) await channel.send(announced)
  }
}

export async function roundTrip({ channel, values }: Talk, value: unknown): Promise<void> {
  await channel.send(value)
  await values.next()
}

export async function echo(channel: Channel): Promise<void> {
  for await (const value of channel) await channel.send(value)
}

/** `count` requests, `flying` of them at a time, each answered under its number. Seconds. */
export async function ask({ channel, values }: Talk, flying: number, count: number): Promise<number> {
  const waiting = new Map<number, () => void>()
  let asked = 0
  let answered = 0
  const reading = (async () => {
    while (answered < count) {
      const { value } = await values.next()
      const { id } = value as unknown as Request
      waiting.get(id)!()
      waiting.delete(id)
      answered++
    }
  })()
  const asker = async (): Promise<void> => {
    while (asked < count) {
      const id = asked++
      await new Promise<void>((resolve) => {
        waiting.set(id, resolve)
        void channel.send(request(id))
      })
    }
  }
  const begun = performance.now()
  await Promise.all([reading, ...Array.from({ length: flying }, asker)])
  return (performance.now() - begun) / 1000
}

interface Request {
  readonly id: number
  readonly n: number
}

/** The small value of the benchmarks. */
export function request(id: number): Request {
  return { id, n: 2 * id }
}

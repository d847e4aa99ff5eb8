// What the suites of the transport's contract have in common: carriers, hosts, protocols, and ways to read.

import type { ChildProcess } from 'node:child_process'
import { expect, onTestFinished } from 'vitest'
import type { Channel, Protocol, Transport, TransportHost } from '../../src/index.ts'

/** A peer that speaks the carrier but writes what it likes; an empty write goes away. */
export interface Raw {
  write(bytes: Uint8Array): unknown
  closed: Promise<unknown>
  /** Another channel of the same peer. */
  again?(): Promise<Raw>
}

export interface Carrier {
  /** Two places on a fresh network, not started: one to be reached, one to reach it. */
  places(): Promise<{ listener: Transport; dialer: Transport }>
  /** The same, the listener in a process of its own, speaking `protocols` and sending back what it gets. */
  remote?(
    protocols: readonly Protocol[],
  ): Promise<{ peer: string; addresses: readonly string[]; child: ChildProcess; dialer: Transport }>
  raw?(listener: Transport, protocol: string): Promise<Raw>
  /** The carrier itself agrees on a protocol, and tells every admitted peer which there are. */
  readonly negotiates?: boolean
}

export const KiB = 1024
export const PLAIN: Protocol = { name: '/test/plain/1', maxFrame: 64 * KiB }
export const BULK: Protocol = { name: '/test/bulk/1', maxFrame: 4 * 1024 * KiB }
export const FEW: Protocol = { name: '/test/few/1', maxFrame: KiB, maxChannels: 2 }
export const BEATING: Protocol = {
  name: '/test/beating/1',
  maxFrame: 64 * KiB,
  heartbeat: { interval: 40, suspicion: 200 },
}
export const PATIENT: Protocol = { ...BEATING, heartbeat: { interval: 40, suspicion: 60_000 } }
const PROTOCOLS = [PLAIN, BULK, FEW, BEATING]

/** A host that admits everybody and keeps what it is given, until a test says otherwise. */
export function host(
  changes: Partial<TransportHost> = {},
): TransportHost & { next(): Promise<Channel>; accepted: number } {
  const channels: Channel[] = []
  const waiting: ((channel: Channel) => void)[] = []
  const it: TransportHost = {
    protocols: PROTOCOLS,
    admits: () => true,
    accept(channel: Channel) {
      const taker = waiting.shift()
      if (taker) taker(channel)
      else channels.push(channel)
    },
    ...changes,
  }
  let accepted = 0
  return {
    get protocols() {
      return it.protocols
    },
    admits: (peer, protocol) => it.admits(peer, protocol),
    connected: (peer) => it.connected?.(peer),
    accept(channel) {
      accepted++
      return it.accept(channel)
    },
    next() {
      const channel = channels.shift()
      return channel ? Promise.resolve(channel) : new Promise((resolve) => waiting.push(resolve))
    },
    get accepted() {
      return accepted
    },
  }
}

export async function echo(channel: Channel): Promise<void> {
  try {
    for await (const value of channel) await channel.send(value)
    await channel.end()
  } catch {
    // the other side has gone
  }
}

export async function readAll(channel: Channel): Promise<unknown[]> {
  const values: unknown[] = []
  for await (const value of channel) values.push(value)
  return values
}

export function reader(channel: Channel): AsyncIterator<unknown> {
  return channel[Symbol.asyncIterator]()
}

/** The next value; the iteration goes on. */
export async function take(values: AsyncIterator<unknown>): Promise<unknown> {
  const { done, value } = await values.next()
  expect(done).toBeFalsy()
  return value
}

export const failing = (code: string): unknown => expect.objectContaining({ code })

/** Both places started; closed when the test ends. */
export async function startedOn(
  carrier: Carrier,
  hosts: { listener?: Partial<TransportHost>; dialer?: Partial<TransportHost> } = {},
) {
  const { listener, dialer } = await carrier.places()
  const theirs = host(hosts.listener)
  const ours = host(hosts.dialer)
  onTestFinished(async () => {
    await Promise.all([listener.close(), dialer.close()])
  })
  await listener.start(theirs)
  await dialer.start(ours)
  const open = (protocol: Protocol, signal?: AbortSignal): Promise<Channel> =>
    dialer.open(listener.id, protocol.name, { addresses: listener.addresses, signal })
  /** Both ends of a new channel. */
  const pair = async (protocol: Protocol = PLAIN): Promise<[Channel, Channel]> => {
    const near = await open(protocol)
    return [near, await theirs.next()]
  }
  return { listener, dialer, theirs, ours, open, pair }
}

export type Started = (hosts?: {
  listener?: Partial<TransportHost>
  dialer?: Partial<TransportHost>
}) => ReturnType<typeof startedOn>

export function helloOf({ name }: Protocol): Uint8Array {
  return frameOfControl(1, { v: 1, protocol: name })
}

export function frameOfControl(kind: number, body: object): Uint8Array {
  // Written out by hand: the wire is what it is, whatever our own encoder does.
  const pairs = Object.entries(body).flatMap(([key, value]) => [
    Buffer.from([0x60 + key.length]),
    Buffer.from(key),
    typeof value === 'number'
      ? Buffer.from([value])
      : Buffer.concat([Buffer.from([0x60 + value.length]), Buffer.from(value as string)]),
  ])
  const bytes = Buffer.concat([Buffer.from([0xa0 + Object.keys(body).length]), ...pairs])
  return Buffer.concat([Buffer.from([0x80 + kind, 0, 0, bytes.length]), bytes])
}

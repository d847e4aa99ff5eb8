// The limits of a whole transport, at the limit: what a peer can make us hold, whatever it opens.

import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { ManualClock } from '../src/clock.ts'
import type { ByteDuplex, DuplexSink } from '../src/duplex.ts'
import { MAX_PEER_CHANNELS, MAX_TRANSPORT_CHANNELS, MAX_UNANNOUNCED, Switchboard } from '../src/switchboard.ts'
import { PLAIN, failing, helloOf } from './suites/places.ts'

/** A carrier whose other end says what the test says, and never lets go by itself. */
class Line implements ByteDuplex {
  sink: DuplexSink | undefined
  readonly written: Uint8Array[] = []
  destroyed = false
  attach(sink: DuplexSink): void {
    this.sink = sink
  }
  write(bytes: Uint8Array): boolean {
    this.written.push(bytes)
    return true
  }
  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {
    this.destroyed = true
    queueMicrotask(() => this.sink?.closed(new Error('destroyed')))
  }
  get said(): string {
    return Buffer.concat(this.written).toString('latin1')
  }
}

const KNOWN = { ...PLAIN, maxChannels: 10_000 }
const WELCOME = Buffer.from('82000000', 'hex')

function switchboard() {
  const accept = vi.fn()
  const clock = new ManualClock()
  const board = new Switchboard({ admits: () => true, protocols: [KNOWN], accept }, clock)
  const answered = (peer: string): Line => {
    const line = new Line()
    board.answer(line, peer)
    return line
  }
  /** A channel that this peer holds open towards us, or would. */
  const taken = (peer: string): Line => {
    const line = answered(peer)
    line.sink!.data(helloOf(KNOWN))
    return line
  }
  return { board, clock, accept, answered, taken }
}

test('a peer holds 256 channels towards us, whatever its protocols allow, and one more for each that goes', async () => {
  const { accept, taken, clock } = switchboard()
  const lines = Array.from({ length: MAX_PEER_CHANNELS }, () => taken('mallory'))
  expect(accept).toHaveBeenCalledTimes(256)
  expect(taken('mallory').said).toContain('you hold 256 channels already')
  taken('alice')
  expect(accept).toHaveBeenCalledTimes(257)
  lines[9]!.sink!.closed(new Error('gone'))
  await nextTurn()
  taken('mallory')
  expect(accept).toHaveBeenCalledTimes(258)
  await clock.advance(1_000)
})

test('all peers together hold 4096 towards us, silent ones included; and as many again we towards them', async () => {
  const { board, clock, accept, answered, taken } = switchboard()
  const silent = 2 * MAX_UNANNOUNCED
  for (let i = 0; i < MAX_TRANSPORT_CHANNELS - silent; i++) taken(`peer ${i % 16}`)
  for (let i = 0; i < silent; i++) answered(`peer ${i % 2}`)
  expect(board.size).toBe(4096)
  expect(accept).toHaveBeenCalledTimes(4096 - silent)
  expect(taken('one more').said).toContain('this peer holds as many channels as it can')
  expect(accept).toHaveBeenCalledTimes(4096 - silent)

  const ours = Array.from({ length: MAX_TRANSPORT_CHANNELS }, () => new Line())
  const opening = Promise.all(ours.map((line) => board.open(line, 'bob', KNOWN)))
  for (const line of ours) line.sink!.data(WELCOME)
  await opening
  expect(() => board.check('bob', KNOWN.name)).toThrow(expect.objectContaining({ code: 'DENIED' }))
  const late = new Line()
  await expect(board.open(late, 'bob', KNOWN)).rejects.toEqual(failing('DENIED'))
  expect(late.destroyed).toBe(true)
  ours[7]!.sink!.closed(new Error('gone'))
  await nextTurn()
  const again = new Line()
  const reopening = board.open(again, 'bob', KNOWN)
  again.sink!.data(WELCOME)
  await reopening

  // Refusals are explained, each for a second at most: to so many, and to no more. One of above still lingers.
  const told = Array.from({ length: MAX_TRANSPORT_CHANNELS }, (_, i) => answered(`stranger ${i % 99}`))
  expect(told.filter(({ destroyed }) => destroyed)).toEqual([told.at(-1)])
  expect(board.size).toBe(3 * 4096)
  await clock.advance(1_000)
  expect(board.size).toBe(2 * 4096)

  // Who has not said what it wants goes after ten seconds.
  await clock.advance(9_000)
  expect(board.size).toBe(2 * 4096 - silent)
  const closing = board.close()
  await clock.advance(1_000)
  await closing
  expect([board.size, clock.size]).toEqual([0, 0])
})

test('a transport that closes ends who comes meanwhile, and waits for them like for the others', async () => {
  const { board, clock, taken, answered } = switchboard()
  taken('alice')
  let closed = false
  const closing = board.close().then(() => (closed = true))
  await clock.advance(500)
  const late = answered('bob')
  await clock.advance(600)
  expect([closed, late.destroyed, board.size]).toEqual([false, false, 1])
  await clock.advance(500)
  await closing
  expect([late.destroyed, board.size]).toEqual([true, 0])
})

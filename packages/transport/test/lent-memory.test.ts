import { type PerformanceEntry, PerformanceObserver, constants } from 'node:perf_hooks'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Lending, collectSoon } from '../src/lent-memory.ts'

const KiB = 1024

test('goes back with its last byte, in whatever parts and order they are used', () => {
  const lending = new Lending()
  const bytes = new Uint8Array(64 * KiB)
  lending.lend(bytes)
  lending.used(bytes.subarray(40 * KiB))
  lending.used(bytes.subarray(0, 8 * KiB))
  lending.used(bytes.subarray(8 * KiB, 8 * KiB))
  expect(bytes.byteLength).toBe(64 * KiB)
  expect(lending.has(bytes.subarray(0, 1))).toBe(true)
  lending.used(bytes.subarray(8 * KiB, 40 * KiB))
  expect(bytes.byteLength).toBe(0)
  expect(lending.has(bytes)).toBe(false)
})

test('what was not lent, or for something else, is never taken', () => {
  const lending = new Lending()
  const mine = new Uint8Array(64 * KiB)
  lending.used(mine)
  new Lending().lend(mine)
  expect(lending.has(mine)).toBe(false)
  lending.used(mine)
  expect(mine.byteLength).toBe(64 * KiB)
})

test('a part of a buffer is not lent, for others may have the rest; nor what is too small to be worth it', () => {
  const lending = new Lending()
  const pool = new Uint8Array(64 * KiB)
  for (const bytes of [pool.subarray(0, 32 * KiB), new Uint8Array(100)]) {
    lending.lend(bytes)
    lending.used(bytes)
    expect(bytes.byteLength).toBeGreaterThan(0)
  }
})

test('tells what was not given back, once', () => {
  const lending = new Lending()
  const [kept, used] = [new Uint8Array(64 * KiB), new Uint8Array(64 * KiB)]
  lending.lend(kept)
  lending.lend(used)
  lending.used(used)
  expect(lending.unreturned()).toBe(64 * KiB)
  expect(lending.unreturned()).toBe(0)
  lending.used(kept)
  expect(lending.unreturned()).toBe(0)
})

test('bytes that nobody gives back are collected as young objects, not by looking through the whole heap', async () => {
  const majors = { with: 0, without: 0 }
  let counting: keyof typeof majors = 'without'
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries() as (PerformanceEntry & { detail: { kind: number } })[]) {
      if (entry.detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) majors[counting]++
    }
  })
  observer.observe({ entryTypes: ['gc'] })
  let last: Uint8Array | undefined
  for (counting of ['without', 'with'] as const) {
    for (let mebibytes = 0; mebibytes < 768; mebibytes++) {
      for (let i = 0; i < 64; i++) last = new Uint8Array(16 * KiB)
      if (counting === 'with') collectSoon(1024 * KiB)
      // As a receiver does: what comes next is another turn of the loop, in which the collector works as well.
      if (mebibytes % 8 === 0) await nextTurn()
    }
    await nextTurn()
  }
  observer.disconnect()
  expect(last).toHaveLength(16 * KiB)
  expect(majors.without).toBeGreaterThan(4)
  expect(majors.with).toBeLessThan(majors.without / 2)
})

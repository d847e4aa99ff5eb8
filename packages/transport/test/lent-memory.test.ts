import { expect, test } from 'vitest'
import { Lending } from '../src/lent-memory.ts'

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

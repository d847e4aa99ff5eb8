// npm run -s campaign -- round-trip [--count N] [--seed S] [--family F]: N random values (100 000) of each family that
// errand promises to carry, each there and back alone and in a chunk among others. Throws at the first that arrives
// different, with the seed that makes it again and the path to the difference.

import { inspect, parseArgs } from 'node:util'
import fc from 'fast-check'
import { createChunkWriter, decode, decodeChunk, encode } from '../src/codec.ts'
import { FAMILIES } from './fixtures/arbitraries.ts'
import { difference } from './fixtures/difference.ts'
import { held } from './fixtures/heap.ts'

/** Values that share two chunks. */
const TOGETHER = 8
/** Of them in the first chunk; in the second one the writer is used again. */
const FIRST = 3
/** Milliseconds for finding the smallest values that show a failure. */
const MAKING_SMALLER = 10_000
/** Memory that a family may leave behind: nothing is kept, but code is compiled and pools grow to their size. */
const MOST_LEFT: number = 32 * 1024 * 1024

export interface Outcome {
  readonly values: number
  readonly seconds: number
}

export async function run(args: readonly string[]): Promise<void> {
  const { values: given } = parseArgs({
    args: [...args],
    options: { count: { type: 'string' }, seed: { type: 'string' }, family: { type: 'string', multiple: true } },
  })
  const count = numberOf('count', given.count, 100_000)
  const seed = numberOf('seed', given.seed, Math.trunc(Math.random() * 0x7fff_ffff))
  const started = performance.now()
  console.log('family      values  seconds        seed  heap after MiB')
  let before: number | undefined
  for (const family of given.family ?? Object.keys(FAMILIES)) {
    const { values, seconds } = roundTrips(family, count, seed)
    const heap = await held()
    console.log(
      [
        family.padEnd(9),
        `${values}`.padStart(8),
        seconds.toFixed(1).padStart(8),
        `${seed}`.padStart(11),
        (heap / 2 ** 20).toFixed(1).padStart(15),
      ].join(' '),
    )
    // After the first family, when everything has been used once.
    before ??= heap
    if (heap - before > MOST_LEFT) throw new Error(`${family}: the heap grew from ${before} to ${heap} bytes`)
  }
  console.log(`all as they left, in ${((performance.now() - started) / 1000).toFixed(0)} s`)
}

/**
 * Sends so many random values of a family there and back.
 * @throws Error at the first one that arrives different, made as small as could be, with seed and path
 */
export function roundTrips(family: string, count: number, seed: number): Outcome {
  const values = Object.hasOwn(FAMILIES, family) ? FAMILIES[family]! : undefined
  if (values === undefined) throw new Error(`no family ${family}; there are: ${Object.keys(FAMILIES).join(', ')}`)
  const started = performance.now()
  let last: string | undefined
  let until = Infinity
  const check = fc.check(
    fc.property(fc.array(values, { minLength: TOGETHER, maxLength: TOGETHER }), (some) => {
      if (performance.now() > until) return true
      const what = lost(some)
      if (what === undefined) return true
      // From here on it is only made smaller, as long as that takes.
      last = what
      if (until === Infinity) until = performance.now() + MAKING_SMALLER
      return false
    }),
    { seed, numRuns: Math.ceil(count / TOGETHER) },
  )
  if (check.failed) {
    throw new Error(
      [
        `${family}: ${last}`,
        `again: npm run -s campaign -- round-trip --family ${family} --seed ${seed} --count ${count}`,
        `value: ${fc.stringify(check.counterexample?.[0]).slice(0, 2000)}`,
      ].join('\n'),
    )
  }
  return { values: check.numRuns * TOGETHER, seconds: (performance.now() - started) / 1000 }
}

/** The first difference between these values and what arrives of them; to be refused is one too. */
function lost(values: readonly unknown[]): string | undefined {
  try {
    return lostInChunks(values) ?? lostAlone(values)
  } catch (error) {
    return inspect(error)
  }
}

function lostAlone(values: readonly unknown[]): string | undefined {
  for (const value of values) {
    const what = difference(value, decode(encode(value)))
    if (what !== undefined) return what
  }
  return undefined
}

function lostInChunks(values: readonly unknown[]): string | undefined {
  const writer = createChunkWriter()
  const chunks = [values.slice(0, FIRST), values.slice(FIRST)].map((some) => {
    for (const value of some) writer.add(value)
    return { some, bytes: writer.finish() }
  })
  // The later one first: neither needs the other.
  for (const { some, bytes } of chunks.reverse()) {
    const back = decodeChunk(bytes)
    if (back.length !== some.length) return `${some.length} values of a chunk arrived as ${back.length}`
    for (const [i, value] of some.entries()) {
      const what = difference(value, back[i], `chunk[${i}]`)
      if (what !== undefined) return what
    }
  }
  return undefined
}

function numberOf(name: string, given: string | undefined, otherwise: number): number {
  const number = given === undefined ? otherwise : Number(given)
  if (!Number.isSafeInteger(number)) throw new Error(`--${name} ${given} is no whole number`)
  return number
}

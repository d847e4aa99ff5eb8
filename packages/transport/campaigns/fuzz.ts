// npm run -s campaign -- fuzz [--frames N] [--seed S] [--from I]: N hostile frames (1 000 000) through every way in: as an
// item, as a chunk, and as bytes on a connection cut anywhere. Throws where a frame did harm: an error that is not ours, more
// than 100 ms, memory that stays, a prototype that changed, a value that was taken but cannot be passed on as it is.
// Each frame follows from the seed and its number alone: `--from I --frames 1` makes one again.
//
// npm run -s campaign -- fuzz --worst [KIND…]: the slowest frames that are allowed, by kind.

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect, parseArgs } from 'node:util'
import { decodeReason } from '../src/abort-reason.ts'
import { createChunkWriter, decode, decodeChunk, encode } from '../src/codec.ts'
import { ErrandError } from '../src/errors.ts'
import { ABORT, FrameDecoder, HELLO } from '../src/framing.ts'
import { ATTACKS } from './fixtures/attacks.ts'
import { difference } from './fixtures/difference.ts'
import { held } from './fixtures/heap.ts'
import { changed, pieces, recorded, streamOf } from './fixtures/hostile.ts'
import { changedIntrinsics, intrinsics } from './fixtures/intrinsics.ts'
import { built } from './fixtures/malformed.ts'
import { Random } from './fixtures/random.ts'
import { reportWorst } from './fixtures/worst.ts'

/** CPU milliseconds that one frame may take (guarantee G14). */
export const MOST_CPU = 100
/** Bytes of heap that all of them together may leave behind. */
const MOST_LEFT: number = 16 * 1024 * 1024
/** How often it is looked whether prototypes are as they were, in frames. */
const LOOK_EVERY = 20_000
/** Broken promises of different kinds that are told; more would be the same again. */
const MOST_TOLD = 40

/** What bytes may be refused with (docs/PROTOCOL.md), by the way in. */
const ITEM_CODES: readonly string[] = ['MALFORMED', 'TOO_LARGE']
const STREAM_CODES: readonly string[] = [...ITEM_CODES, 'FRAME_TOO_LARGE', 'PROTOCOL']

interface Slowest {
  readonly way: string
  readonly wall: number
  readonly cpu: number
  readonly frame: number
  readonly bytes: number
}

export interface Fuzzed {
  readonly frames: number
  readonly seed: number
  readonly seconds: number
  /** Calls by way in and what came of them: `item taken`, `chunk MALFORMED`, … */
  readonly outcomes: ReadonlyMap<string, number>
  readonly slowest: Slowest
  /** Bytes of heap and buffers, with no garbage. */
  readonly before: number
  readonly after: number
  /** Promises that were broken, each with how often and where first. */
  readonly broken: readonly string[]
}

export async function run(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      frames: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: `${Math.trunc(Math.random() * 0x7fff_ffff)}` },
      from: { type: 'string', default: '0' },
      worst: { type: 'boolean', default: false },
    },
  })
  if (values.worst) return reportWorst(positionals)
  const [frames, seed, from] = [values.frames, values.seed, values.from].map(Number) as [number, number, number]
  if (![frames, seed, from].every((n) => Number.isSafeInteger(n) && n >= 0)) throw new Error('that is no whole number')
  console.log(`seed ${seed}`)
  const report = await fuzz({ frames, seed, from, progress: process.stderr.isTTY })
  for (const [outcome, count] of [...report.outcomes].toSorted((a, b) => (a[0] < b[0] ? -1 : 1))) {
    console.log(`${outcome.padEnd(24)} ${count}`)
  }
  const { way, wall, cpu, frame, bytes } = report.slowest
  console.log(
    [
      `frames ${frames} in ${report.seconds.toFixed(0)} s`,
      `slowest: ${cpu.toFixed(1)} ms CPU, ${wall.toFixed(1)} ms wall (${way} of frame ${frame}, ${bytes} bytes)`,
      `heap ${(report.before / 2 ** 20).toFixed(1)} → ${(report.after / 2 ** 20).toFixed(1)} MiB`,
    ].join('\n'),
  )
  if (report.broken.length > 0) throw new Error(`seed ${seed}: promises broken\n${report.broken.join('\n')}`)
}

export async function fuzz(options: {
  readonly frames: number
  readonly seed: number
  readonly from?: number
  readonly progress?: boolean
}): Promise<Fuzzed> {
  const { frames, seed, from = 0, progress = false } = options
  const corpus = recorded()
  const trial = new Trial()
  // What is compiled and pooled once is not growth.
  for (let frame = 0; frame < 500; frame++)
    trial.frame(frameOf(seed, frame, corpus), frame, new Random(seed, -frame - 1))
  trial.reset()
  const was = intrinsics()
  const before = await held()
  const started = performance.now()
  for (let frame = from; frame < from + frames; frame++) {
    trial.frame(frameOf(seed, frame, corpus), frame, new Random(seed, -frame - 1))
    if ((frame + 1) % LOOK_EVERY === 0) trial.look(was, frame)
    if (progress && frame % 1000 === 0) process.stderr.write(`\r${frame - from} of ${frames}`)
  }
  if (progress) process.stderr.write('\r\x1b[K')
  const seconds = (performance.now() - started) / 1000
  trial.look(was, from + frames - 1)
  const { outcomes, slowest } = trial
  const after = await held()
  if (after - before > MOST_LEFT) trial.breaks(`the heap grew from ${before} to ${after} bytes`, from + frames - 1)
  return { frames, seed, seconds, outcomes, slowest, before, after, broken: trial.broken() }
}

/** The bytes of one frame. */
export function frameOf(seed: number, frame: number, corpus: readonly Uint8Array[]): Uint8Array {
  const random = new Random(seed, frame)
  const kind = random.below(100)
  if (kind < 45) return changed(random.pick(corpus), corpus, random)
  if (kind < 75) return built(random)
  if (kind < 87) return changed(built(random), corpus, random)
  if (kind < 98) {
    const attack = random.pick(ATTACKS)
    // Large ones are rare: what they do they do in every size.
    const bytes = attack.make(random.size(random.once(200) ? attack.full : Math.min(attack.full, 2000)), random)
    return random.once(2) ? changed(bytes, corpus, random) : bytes
  }
  return Uint8Array.from({ length: random.size(300) }, () => random.below(256))
}

type Way = 'item' | 'chunk' | 'stream'

/** What has become of the frames so far. */
class Trial {
  readonly outcomes = new Map<string, number>()
  slowest: Slowest = { way: '', wall: 0, cpu: 0, frame: -1, bytes: 0 }
  readonly #broken = new Map<string, { readonly first: string; times: number }>()
  #directory: string | undefined

  frame(bytes: Uint8Array, frame: number, random: Random): void {
    const item = this.#timed('item', bytes, frame, () => decode(bytes))
    const chunk = this.#timed('chunk', bytes, frame, () => decodeChunk(bytes))
    if (item !== undefined) this.#passOn('item', item.value, bytes, frame)
    // One item is the same as a chunk of one.
    else if (chunk !== undefined) this.#passOnAll(chunk.value, bytes, frame)
    const stream = streamOf(bytes, random)
    const limit = random.pick([0, 1024, 64 * 1024, 16 * 1024 * 1024])
    const cut = [...pieces(stream, random)]
    this.#timed('stream', stream, frame, () => readStream(cut, limit))
  }

  /** Forgets what was, but not what was broken. */
  reset(): void {
    this.outcomes.clear()
    this.slowest = { way: '', wall: 0, cpu: 0, frame: -1, bytes: 0 }
  }

  look(was: ReturnType<typeof intrinsics>, frame: number): void {
    for (const what of changedIntrinsics(was)) this.breaks(`${what} changed`, frame)
  }

  /** Notes a broken promise; what differs from an earlier one only in numbers is the same. */
  breaks(what: string, frame: number, bytes?: Uint8Array): void {
    const sort = what
      .replace(/^\w+: |hex$/g, '')
      .replace(/value\S*?(\.\w+)?: /, '$1: ')
      .replace(/(hidden fields|keys|class|arrived as|errand-fuzz) .*/, '$1')
      .replace(/: \S+ arrived as/, ': arrived')
      .replace(/"(?:[^"\\]|\\.)*"|\[[^\]]*\]|-?\d[\d.e+-]*n?/g, '#')
      .slice(0, 120)
    const met = this.#broken.get(sort)
    if (met !== undefined) met.times++
    else
      this.#broken.set(sort, {
        first: `${what} (frame ${frame}${bytes === undefined ? '' : `: ${hexOf(bytes)}`})`,
        times: 1,
      })
  }

  broken(): string[] {
    const all = [...this.#broken.values()].map(({ first, times }) => `${times} × ${first}`)
    return all.length > MOST_TOLD ? [...all.slice(0, MOST_TOLD), `and ${all.length - MOST_TOLD} more`] : all
  }

  /** What `act` gave, when it did not throw. */
  #timed<T>(way: Way, bytes: Uint8Array, frame: number, act: () => T): { readonly value: T } | undefined {
    let outcome = 'taken'
    let result: { readonly value: T } | undefined
    const wallBefore = performance.now()
    const cpuBefore = process.threadCpuUsage()
    try {
      result = { value: act() }
    } catch (error) {
      outcome = this.#refusal(way, error, bytes, frame)
    }
    const { user, system } = process.threadCpuUsage(cpuBefore)
    const cpu = (user + system) / 1000
    const wall = performance.now() - wallBefore
    this.outcomes.set(`${way} ${outcome}`, (this.outcomes.get(`${way} ${outcome}`) ?? 0) + 1)
    if (cpu > this.slowest.cpu) this.slowest = { way, wall, cpu, frame, bytes: bytes.length }
    if (cpu > MOST_CPU) {
      this.breaks(`${way}: ${cpu.toFixed(0)} ms CPU, kept in ${this.#keep(way, frame, bytes)}`, frame)
    }
    return result
  }

  #refusal(way: Way, error: unknown, bytes: Uint8Array, frame: number): string {
    const codes = way === 'stream' ? STREAM_CODES : ITEM_CODES
    if (error instanceof ErrandError && codes.includes(error.code)) return error.code
    this.breaks(`${way}: refused by ${inspect(error).slice(0, 300)}`, frame, bytes)
    return 'by another error'
  }

  /** What was taken can be sent on, and arrives as it is. */
  #passOn(way: Way, value: unknown, bytes: Uint8Array, frame: number): void {
    try {
      const what = difference(value, decode(encode(value)), 'value', true)
      if (what !== undefined) this.breaks(`${way}: passed on, ${what}`, frame, bytes)
    } catch (error) {
      this.breaks(`${way}: taken, but cannot be passed on: ${String(error)}`, frame, bytes)
    }
  }

  #passOnAll(values: readonly unknown[], bytes: Uint8Array, frame: number): void {
    try {
      const writer = createChunkWriter()
      const back: unknown[] = []
      for (const value of values) {
        try {
          writer.add(value)
        } catch (error) {
          // Foreign chunks may hold more, in other shapes, than ours do: as any sender, we begin another one.
          if (writer.count === 0) throw error
          back.push(...decodeChunk(writer.finish()))
          writer.add(value)
        }
      }
      back.push(...decodeChunk(writer.finish()))
      values.forEach((value, i) => {
        const what = difference(value, back[i], `value[${i}]`, true)
        if (what !== undefined) this.breaks(`chunk: passed on, ${what}`, frame, bytes)
      })
    } catch (error) {
      this.breaks(`chunk: taken, but cannot be passed on: ${String(error)}`, frame, bytes)
    }
  }

  #keep(way: Way, frame: number, bytes: Uint8Array): string {
    this.#directory ??= mkdtempSync(join(tmpdir(), 'errand-fuzz-'))
    const path = join(this.#directory, `${way}-${frame}.hex`)
    writeFileSync(path, Buffer.from(bytes).toString('hex'))
    return path
  }
}

/** As a channel does it: values are decoded as they come, the first error ends it. */
function readStream(parts: readonly Uint8Array[], limit: number): void {
  const decoder = new FrameDecoder({
    value: (body) => void decode(body),
    control(kind, body) {
      if (kind === HELLO) decode(body)
      else if (kind === ABORT) decodeReason(body)
    },
  })
  decoder.limit = limit
  for (const part of parts) decoder.push(part)
}

function hexOf(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.subarray(0, 400)).toString('hex')
  return bytes.length > 400 ? `${hex}… of ${bytes.length} bytes` : hex
}

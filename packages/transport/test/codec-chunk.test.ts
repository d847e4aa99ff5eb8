import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { className, createChunkWriter, decode, decodeChunk } from '../src/codec.ts'
import { MalformedError, NotTransferableError, TooLargeError } from '../src/errors.ts'

function chunkOf(values: readonly unknown[]): Uint8Array {
  const writer = createChunkWriter()
  for (const value of values) writer.add(value)
  return writer.finish()
}

describe('a chunk', () => {
  it('gives the values in order, whatever they are', () => {
    const values = [
      1,
      'two',
      null,
      undefined,
      { three: 3 },
      { three: 4 },
      new Map([[1, { three: 5 }]]),
      new Error('six'),
      -0,
      [{ three: 7 }],
      8n,
    ]
    expect(isDeepStrictEqual(decodeChunk(chunkOf(values)), values)).toBe(true)
  })
  it('may be empty', () => {
    expect(createChunkWriter().finish()).toEqual(new Uint8Array())
    expect(decodeChunk(new Uint8Array())).toEqual([])
  })
  it('counts its values and bytes', () => {
    const writer = createChunkWriter()
    expect([writer.count, writer.bytes]).toEqual([0, 0])
    const sizes = [{ a: 1 }, { a: 2 }, 'x'.repeat(1000)].map((value) => writer.add(value))
    expect(writer.count).toBe(3)
    expect(writer.bytes).toBe(sizes.reduce((sum, size) => sum + size))
    const chunk = writer.finish()
    expect(chunk.byteLength).toBe(sizes.reduce((sum, size) => sum + size))
    expect([writer.count, writer.bytes]).toEqual([0, 0])
  })
  it('of one value is that value as one item', () => {
    expect(decode(chunkOf([{ a: [1] }]))).toEqual({ a: [1] })
  })
  it('encodes when it is added: what changes later is not in it', () => {
    const writer = createChunkWriter()
    const o = { n: 0 }
    for (; o.n < 3; o.n++) writer.add(o)
    expect(decodeChunk(writer.finish())).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }])
  })
  it('is decodable alone, in any order, however its writer was used before', () => {
    const writer = createChunkWriter()
    const chunks = Array.from({ length: 20 }, (_, c) => {
      for (let i = 0; i < 10; i++) writer.add({ chunk: c, i, [`own${c}`]: { x: i } })
      return writer.finish()
    })
    for (const [c, chunk] of [...chunks.entries()].toReversed()) {
      const values = decodeChunk(chunk)
      expect(values).toEqual(Array.from({ length: 10 }, (_, i) => ({ chunk: c, i, [`own${c}`]: { x: i } })))
    }
  })
  it('keeps writers apart that are filled at the same time', () => {
    const writers = Array.from({ length: 5 }, () => createChunkWriter())
    for (let i = 0; i < 500; i++)
      for (const [w, writer] of writers.entries()) writer.add({ w, i, pad: 'x'.repeat(w * 10) })
    for (const [w, writer] of writers.entries()) {
      const values = decodeChunk(writer.finish()) as { w: number; i: number }[]
      expect(values.map((value) => value.i)).toEqual(Array.from({ length: 500 }, (_, i) => i))
      expect(values.every((value) => value.w === w)).toBe(true)
    }
  })
  it('has a buffer of its own, of any size', () => {
    const writer = createChunkWriter()
    const kept = [100, 600, 70_000, 100_000, 300_000, 5_000_000, 100, 70_000].map((size) => {
      writer.add('x'.repeat(size))
      writer.add({ size })
      return [size, writer.finish()] as const
    })
    for (const [size, chunk] of kept) {
      expect(decodeChunk(chunk)).toEqual(['x'.repeat(size), { size }])
      expect(chunk.buffer.byteLength).toBeLessThan(size * 2 + 1000)
    }
    structuredClone(kept[2]![1], { transfer: [kept[2]![1].buffer] })
    writer.add('y'.repeat(70_000))
    expect(decodeChunk(writer.finish())).toEqual(['y'.repeat(70_000)])
  })
  it('writes the keys of like objects once', () => {
    const rows = Array.from({ length: 100 }, (_, i) => ({
      identifier: i,
      description: 'same',
      nested: { alpha: i, beta: [] },
    }))
    const chunk = Buffer.from(chunkOf(rows))
    expect(isDeepStrictEqual(decodeChunk(chunk), rows)).toBe(true)
    // Once as a lone record that needs no definition, once in the definition.
    expect(chunk.toString('latin1').split('description').length - 1).toBe(2)
  })
  it('restores identity within a value, not between values', () => {
    const one = { a: 1 }
    const [first, second] = decodeChunk(
      chunkOf([
        [one, one],
        [one, one],
      ]),
    ) as [object[], object[]]
    expect(first[0]).toBe(first[1])
    expect(second[0]).toBe(second[1])
    expect(first[0]).not.toBe(second[0])
  })
  it('keeps classes, snapshots and cycles of each value', () => {
    class Point {
      x = 1
    }
    const loop: unknown[] = []
    loop.push(loop)
    const live = { [Symbol.for('errand.snapshot')]: () => ({ id: 1 }) }
    const values = decodeChunk(chunkOf([new Point(), loop, live, new Point(), loop, { id: 2 }])) as [
      Point,
      unknown[],
      object,
      Point,
      unknown[],
      object,
    ]
    expect([className(values[0]), className(values[3])]).toEqual(['Point', 'Point'])
    expect([values[1][0], values[4][0]]).toEqual([values[1], values[4]])
    expect(values[1]).not.toBe(values[4])
    expect([Object.isFrozen(values[2]), Object.isFrozen(values[5])]).toEqual([true, false])
  })
  it('copies bytes when asked to', () => {
    const chunk = chunkOf([new Uint8Array(5000).fill(1)])
    const [view] = decodeChunk(chunk) as [Uint8Array]
    const [copy] = decodeChunk(chunk, undefined, { copy: true }) as [Uint8Array]
    chunk.fill(2)
    expect([view[0], copy[0]]).toEqual([2, 1])
  })
})

describe('a chunk that is given what it cannot take', () => {
  it('stays as it was', () => {
    const writer = createChunkWriter()
    writer.add({ a: 1, b: 2 })
    writer.add({ a: 2, b: 3 })
    const { bytes } = writer
    for (const bad of [
      { a: 1, c: { d: () => 1 } },
      { a: 1, c: 2n ** 9000n },
      {
        get a() {
          throw new Error('no')
        },
      },
      { c: 'x'.repeat(2 ** 24) },
    ]) {
      expect(() => writer.add(bad)).toThrow(/cannot travel|value/)
      expect([writer.count, writer.bytes]).toEqual([2, bytes])
    }
    writer.add({ a: 3, c: 4 })
    writer.add({ a: 4, b: 5 })
    expect(decodeChunk(writer.finish())).toEqual([
      { a: 1, b: 2 },
      { a: 2, b: 3 },
      { a: 3, c: 4 },
      { a: 4, b: 5 },
    ])
  })
  it('says why: not transferable, too large', () => {
    const writer = createChunkWriter()
    expect(() => writer.add(() => 1)).toThrow(NotTransferableError)
    expect(() => writer.add(2n ** 9000n)).toThrow(TooLargeError)
    expect(writer.finish().byteLength).toBe(0)
  })
  it('drops and marks when lossy', () => {
    const writer = createChunkWriter({ lossy: true })
    writer.add({ f() {} })
    expect(decodeChunk(writer.finish())).toEqual([{ f: { $dropped: 'function f' } }])
  })
  it('does not lose a key list to a value that turned out too long', () => {
    const writer = createChunkWriter({ limits: { bytes: 100 } })
    writer.add(0)
    expect(() => writer.add({ key: 'ä'.repeat(60) })).toThrow(TooLargeError)
    writer.add({ key: 1 })
    writer.add({ key: 2 })
    expect(decodeChunk(writer.finish())).toEqual([0, { key: 1 }, { key: 2 }])
  })
  it('is not spoilt by values that do not hold still', () => {
    const writer = createChunkWriter()
    writer.add({ start: 1 })
    let reads = 0
    const fickle = {
      first: { only: 'in what is thrown away' },
      get second() {
        // From the second read on, that is while cbor-x is writing what will be thrown away.
        if (reads > 0) writer.add({ from: 'inside', shape: { only: 'here' } })
        return reads++ === 1 ? () => 1 : { only: 'calm' }
      },
    }
    writer.add(fickle)
    writer.add({ first: 2, second: { only: 3 } })
    writer.add({ from: 'outside', shape: { only: 4 } })
    const values = decodeChunk(writer.finish()) as unknown[]
    expect(values[0]).toEqual({ start: 1 })
    expect(
      values.slice(1, -3).every((value) => isDeepStrictEqual(value, { from: 'inside', shape: { only: 'here' } })),
    ).toBe(true)
    expect(values.slice(-3)).toEqual([
      { first: { only: 'in what is thrown away' }, second: { only: 'calm' } },
      { first: 2, second: { only: 3 } },
      { from: 'outside', shape: { only: 4 } },
    ])
  })
  it('is not given away while a value is being added', () => {
    const writer = createChunkWriter()
    const finishing = (...rest: number[]): unknown[] =>
      Object.defineProperty([0, ...rest], 0, { get: () => writer.finish().byteLength, enumerable: true })
    writer.add([7, 8, 9])
    writer.add([4, 5, 6])
    expect(() => writer.add(finishing(2, 3))).toThrow(/value\[0\] is a getter that throws .*added/)
    // Nor when another value is added in between, or what is added is no plain value.
    const both = [
      -0,
      {
        get inner() {
          writer.add('inner')
          return finishing(1)
        },
      },
    ]
    expect(() => writer.add(both)).toThrow('value[1].inner[0] is a getter that throws')
    expect(decodeChunk(writer.finish())).toEqual([[7, 8, 9], [4, 5, 6], 'inner'])
    expect(writer.add(1)).toBe(1)
    expect(decodeChunk(writer.finish())).toEqual([1])
  })
  it('is as it was when the stack is exhausted', () => {
    const like = (c: unknown): unknown => ({ a: [{ a: 1 }, { b: { c } }] })
    for (let round = 0; round < 12; round++) {
      const writer = createChunkWriter()
      const added: unknown[] = []
      const add = (value: unknown): void => {
        writer.add(value)
        added.push(value)
      }
      add({ z: 1 })
      add({ z: 1 })
      let left = 0
      const dive = (depth: number): void => {
        try {
          dive(depth + 1)
        } catch {
          left = 2000
        }
        // On the way up: with ever so little room.
        if (left-- > 0) {
          try {
            add(like(round % 2 === 0 ? -0 : 2))
          } catch {
            // As it should.
          }
        }
      }
      dive(0)
      for (let i = 0; i < 3; i++) add(like(3))
      const values = decodeChunk(writer.finish())
      expect(values.length).toBe(added.length)
      expect(isDeepStrictEqual(values, added)).toBe(true)
    }
  })
  it('refuses what no reader would take, of many shapes in turn', () => {
    const limits = { items: 20_000 }
    const wide = (k: number): object => Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`w${k}_${i}`, 0]))
    for (const others of [200, 300, 900]) {
      for (let cycles = 1; ; cycles++) {
        const writer = createChunkWriter({ limits })
        writer.add(0)
        writer.add(Array.from({ length: 30 }, (_, i) => wide(i)))
        // The minus zero keeps it off the fast way.
        const value: unknown[] = [-0]
        for (let i = 0; i < cycles; i++) {
          for (let k = 0; k < 30; k++) value.push(wide(k))
          for (let k = 0; k < others; k++) value.push({ [`o${k}`]: 0 })
        }
        try {
          writer.add(value)
        } catch (error) {
          expect(error).toBeInstanceOf(TooLargeError)
          expect(cycles).toBeGreaterThan(1)
          break
        }
        expect(isDeepStrictEqual(decodeChunk(writer.finish(), limits)[2], value)).toBe(true)
      }
    }
  })
  it('refuses what no reader would take', () => {
    const writer = createChunkWriter({ limits: { items: 10 } })
    const before = Array.from({ length: 65_536 }, () => writer.add(1))
    expect(before.length).toBe(65_536)
    for (let i = 0; i < 10; i++) writer.add(1)
    expect(() => writer.add(1)).toThrow(TooLargeError)
    const chunk = writer.finish()
    expect(decodeChunk(chunk, { items: 10 }).length).toBe(65_546)
    expect(() => decodeChunk(chunk, { items: 9 })).toThrow(TooLargeError)
  })
  it('is refused whole when it is cut', () => {
    const chunk = chunkOf([{ a: 1 }, { a: 2 }, { a: 'long enough' }])
    let whole = 0
    for (let end = 0; end < chunk.length; end++) {
      // A cut between values is a shorter chunk: the frame's length tells, not the codec.
      try {
        decodeChunk(chunk.subarray(0, end))
        whole++
      } catch (error) {
        expect(error).toBeInstanceOf(MalformedError)
      }
    }
    expect(whole).toBe(3)
  })
})

describe('shapes', () => {
  const key = fc.constantFrom(
    'a',
    'b',
    'c',
    'd',
    'id',
    'name',
    '__keys__',
    '__proto__',
    '0',
    '1',
    'length',
    'constructor',
    'hasOwnProperty',
  )
  const row = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.integer(),
      fc.string(),
      fc.constantFrom(null, undefined, -0, 1n),
      tie('object'),
      tie('array'),
      tie('map'),
    ),
    object: fc.dictionary(key, tie('value'), { maxKeys: 5, noNullPrototype: true }),
    array: fc.array(tie('value'), { maxLength: 3 }),
    map: fc.array(fc.tuple(fc.string(), tie('value')), { maxLength: 2 }).map((entries) => new Map(entries)),
  })).value
  it('any values in one chunk arrive as they were', () => {
    fc.assert(
      fc.property(fc.array(row, { maxLength: 40 }), (values) =>
        isDeepStrictEqual(decodeChunk(chunkOf(values)), values),
      ),
      { numRuns: 200 },
    )
  })
  it.each([10, 64, 65, 255, 256, 257, 300, 1000])('%i shapes in one chunk, over and over', (shapes) => {
    const values = Array.from({ length: shapes * 3 + 7 }, (_, i) => ({
      [`k${i % shapes}`]: i,
      common: { [`n${i % 7}`]: i },
    }))
    expect(isDeepStrictEqual(decodeChunk(chunkOf(values)), values)).toBe(true)
  })
  it.each([257, 600, 1000])('%i shapes in one value of a chunk, over and over', (shapes) => {
    const value = Array.from({ length: shapes * 4 }, (_, i) => ({
      [`k${(i * 31) % shapes}`]: i,
      [`m${i % 3}`]: { x: i },
    }))
    expect(
      isDeepStrictEqual(decodeChunk(chunkOf([0, value, value, { k1: 1, m1: { x: 1 } }])), [
        0,
        value,
        value,
        { k1: 1, m1: { x: 1 } },
      ]),
    ).toBe(true)
  })
  it('are given up where nothing repeats', () => {
    const chunk = chunkOf(Array.from({ length: 1000 }, (_, i) => ({ [`key${i}`]: i })))
    expect(Buffer.from(chunk).toString('hex').split('d9dfff').length - 1).toBeLessThan(100)
  })
  it('used often give objects of their own, however many there are', () => {
    const writer = createChunkWriter()
    const rows = Array.from({ length: 900 }, (_, i) => ({ [`a${i % 9}`]: i, both: [i], [`z${i % 3}`]: undefined }))
    for (const row of rows) writer.add(row)
    const chunk = writer.finish()
    for (let round = 0; round < 2; round++) {
      const values = decodeChunk(chunk) as Record<string, unknown>[]
      expect(isDeepStrictEqual(values, rows)).toBe(true)
      expect(values.map((value) => Object.keys(value))).toEqual(rows.map((row) => Object.keys(row)))
      // What one reader does to an object is not in the next.
      for (const value of values) Object.assign(value, { both: 'spoilt', more: 1 })
    }
  })
  it('keep what a getter adds while its object is being written', () => {
    const writer = createChunkWriter()
    writer.add({ start: 1 })
    let added = 0
    const fickle = {
      before: 'z'.repeat(30),
      get inner() {
        if (added++ === 0) for (let i = 0; i < 3; i++) writer.add({ i, text: 'x'.repeat(i * 10) })
        return 'y'.repeat(30)
      },
      after: 'z'.repeat(40),
    }
    writer.add(fickle)
    writer.add({ end: 1 })
    expect(decodeChunk(writer.finish())).toEqual([
      { start: 1 },
      ...[0, 1, 2].map((i) => ({ i, text: 'x'.repeat(i * 10) })),
      { before: fickle.before, inner: 'y'.repeat(30), after: fickle.after },
      { end: 1 },
    ])
  })
  it('keep apart what getters add to other chunks while one grows', () => {
    const [one, two] = [createChunkWriter(), createChunkWriter()]
    // One's buffer of the usual size is all but full: what is added within has no room in it. The other then fills that
    // buffer, if it gets it, to where the getter's object is being written.
    one.add('x'.repeat(60_000))
    one.add('x'.repeat(70_000))
    one.add('x'.repeat(924))
    const large = [...Array.from({ length: 13 }, () => 10_000), 950].map((length) => 'z'.repeat(length))
    let isAdded = false
    one.add({
      get inner() {
        if (!isAdded) {
          isAdded = true
          for (let i = 0; i < 2; i++) one.add('some twenty characters')
          for (const text of large) two.add(text)
        }
        return 'y'.repeat(30)
      },
    })
    expect(decodeChunk(two.finish())).toEqual(large)
    const values = decodeChunk(one.finish())
    expect(values.slice(0, 3).map((value) => (value as string).length)).toEqual([60_000, 70_000, 924])
    expect(values.at(-1)).toEqual({ inner: 'y'.repeat(30) })
  })
  it('objects that begin like others', () => {
    const values: object[] = []
    for (let i = 0; i < 200; i++)
      values.push(Object.fromEntries(Array.from({ length: (i * 7) % 30 }, (_, k) => [`k${k}`, i])))
    expect(isDeepStrictEqual(decodeChunk(chunkOf(values)), values)).toBe(true)
  })
  it.each([22, 23, 24, 255, 256, 65_535, 65_536])(
    'objects with %i keys, on either side of what a header counts',
    (n) => {
      const wide = Object.fromEntries(Array.from({ length: n }, (_, k) => [`k${k}`, k]))
      // The first defines the shape, the second uses it.
      const writer = createChunkWriter({ limits: { items: 500_000 } })
      for (const value of [1, wide, wide]) writer.add(value)
      expect(isDeepStrictEqual(decodeChunk(writer.finish(), { items: 500_000 }), [1, wide, wide])).toBe(true)
    },
  )
})

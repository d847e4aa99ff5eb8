// Thread jobs one after the other: which of them have a worker that another had before, and that none can tell.
import type { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Isolate } from '../src/engine/lane.ts'
import { Spare } from '../src/engine/spare.ts'
import { createPeer } from '../src/index.ts'
import { functionSource } from '../src/script.ts'
import { tracesOf, type Traces } from '../src/script-traces.ts'
import type { Peer, ScriptContext } from '../src/surface.ts'
import { until } from './support/peers.ts'

describe('what a script can leave behind', () => {
  const scripts: readonly (readonly [Traces, (ctx: ScriptContext, ...args: any[]) => unknown])[] = [
    ['none', () => {}],
    ['none', (_, n: number) => Math.max(n, 2) + Number('1')],
    [
      'none',
      function* (ctx, count: number) {
        const seen = new Map<string, number>()
        for (let at = 0; at < count; at++) {
          seen.set(`${at}`, at)
          ctx.warn(`so far ${seen.size}`)
          yield { count: at, table: [...seen], time: new Date(at) }
        }
      },
    ],
    ['none', (ctx) => console.log(JSON.stringify({ at: performance.now(), where: ctx.location }))],
    ['none', (_, rows: { a: number }[]) => rows.map(({ a }) => ({ a: a ** 2 })).filter((row) => !(row instanceof Map))],
    [
      'none',
      (_, list: number[]) => {
        let sum = 0
        const box: Record<string, number> = {}
        for (const one of list) box[`n${one}`] = sum += one
        delete box['n1']
        return box
      },
    ],
    ['late', async () => 1],
    ['late', (ctx) => void ctx.sleep(1)],
    ['late', () => Promise.resolve(1)],
    ['late', (_, rows: Promise<number>) => rows.then((row) => row + 1)],
    ['some', () => setTimeout(() => {}, 1)],
    ['some', () => ((globalThis as Record<string, unknown>)['left'] = 1)],
    ['some', () => process.pid],
    ['some', () => import('node:fs')],
    ['some', (ctx) => ctx.session.name],
    ['some', ({ session }) => session.name],
    ['some', () => Reflect.ownKeys({})],
    ['some', () => ((Math as unknown as Record<string, number>)['left'] = 1)],
    ['some', () => ([(Math as unknown as { left: number }).left] = [1])],
    ['some', () => delete (JSON as Partial<JSON>).parse],
    ['some', () => Object.assign(Math, { left: 1 })],
    ['some', () => Object.assign(Object.getPrototypeOf([]), { left: 1 })],
    ['some', () => (([] as unknown as Record<string, unknown>)['__proto__'] = {})],
    ['some', () => ([].constructor as unknown as { left: number }).left++],
    ['some', () => Object.assign(Array.prototype, { left: 1 })],
    ['some', () => console.time('left')],
    ['some', () => performance.mark('left')],
    ['some', () => [console].map((it) => typeof it)],
    [
      'some',
      function (this: Record<string, unknown>) {
        this['left'] = 1
      },
    ],
    ['some', () => fetch('http://127.0.0.1:1')],
    ['some', () => typeof new WeakRef({})],
  ]
  test.each(scripts.map(([traces, script]) => ({ traces, script, text: script.toString().replace(/\s+/g, ' ') })))(
    '$traces: $text',
    ({ traces, script }) => expect(tracesOf(functionSource(script))).toBe(traces),
  )

  test.each([
    ['text that is none', '() => {'],
    ['two expressions', '() => {} 1'],
    ['a name that nobody has', '() => left = 1'],
    ['with', 'function (o) { with (o) { left = 1 } }'],
    ['a text too long to be looked at', `() => '${'x'.repeat(20_000)}'`],
  ])('some: %s', (_, source) => expect(tracesOf(source)).toBe('some'))
})

describe('workers', () => {
  let peer: Peer
  let [begun, gone] = [0, 0]
  const count = (worker: Worker): void => {
    begun++
    worker.once('exit', () => gone++)
  }
  beforeAll(async () => {
    process.on('worker', count)
    peer = await createPeer()
    // The texts of scripts are looked at once the first job has asked for it.
    await until('a worker is used again', async () => (await lost(() => {})) === 0)
  })
  afterAll(async () => {
    process.off('worker', count)
    await peer.close()
  })

  async function completed(script: (ctx: ScriptContext) => unknown): Promise<unknown> {
    const job = await peer.start(script, { engine: 'thread' })
    const [value] = await job.output()
    await job.remove()
    return value
  }
  /** Workers that went with it. */
  async function lost(script: (ctx: ScriptContext) => unknown): Promise<number> {
    const before = gone
    await completed(script)
    return gone - before
  }

  test('a hundred small jobs, one after the other, start no worker but a spare', async () => {
    const before = begun
    for (let at = 0; at < 50; at++) {
      expect(await completed(() => 1 + 1)).toBe(2)
      expect(await completed(async () => 'later')).toBe('later')
    }
    expect(begun - before).toBeLessThanOrEqual(1)
  })

  test('what one leaves on globalThis the next does not find', async () => {
    const left = (): string => typeof (globalThis as Record<string, unknown>)['left']
    expect(await lost(() => void ((globalThis as Record<string, unknown>)['left'] = 1))).toBe(1)
    expect(await completed(left)).toBe('undefined')
    expect(await lost(() => 1)).toBe(0)
    expect(await completed(left)).toBe('undefined')
  })

  test('a worker in which something goes on goes with its job', async () => {
    // A timer that nobody waits for.
    expect(await lost(async (ctx) => void ctx.sleep(60_000).catch(() => {}))).toBe(1)
    expect(await lost(async (ctx) => await ctx.sleep(1))).toBe(0)
  })

  test('one that never lets go of its worker again has ended, and its worker too', async () => {
    const endless = async (): Promise<string> => {
      void (async () => {
        for (;;) await Promise.resolve()
      })()
      return 'over'
    }
    expect(await lost(endless)).toBe(1)
    expect(await completed(() => 'next')).toBe('next')
  })

  test('one that was stopped does not give its worker on', async () => {
    const job = await peer.start(
      async (ctx) => {
        while (!ctx.signal.aborted) await ctx.sleep(5)
      },
      { engine: 'thread' },
    )
    await job.wait({ for: ['Running'] })
    const before = gone
    expect((await job.stop()).state).toBe('Stopped')
    expect(gone - before).toBe(1)
  })

  test('as many as were at work at once stay for a while, and go when they are not needed', async () => {
    const jobs = await Promise.all(
      Array.from({ length: 5 }, () => peer.start(async (ctx) => await ctx.sleep(300), { engine: 'thread' })),
    )
    const before = { begun, gone }
    for (const job of jobs) expect((await job.finished).state).toBe('Completed')
    expect(gone - before.gone).toBe(0)
    before.begun = begun
    await Promise.all(Array.from({ length: 5 }, () => completed(() => 1)))
    expect(begun - before.begun).toBe(0)
    await until('all but one have gone', () => gone - before.gone >= 4)
  })
})

test('an isolate that was killed is not kept, though it has not gone yet: its last word was under way', () => {
  const start = (): Isolate => {
    let killed = false
    return {
      server: {} as Isolate['server'],
      wire: { post() {}, receive() {} },
      pid: undefined,
      exited: new Promise(() => {}),
      hold() {},
      kill: () => void (killed = true),
      get killed() {
        return killed
      },
    }
  }
  const spare = new Spare(start, () => {})
  const first = spare.take()
  spare.give(first)
  expect(spare.take()).toBe(first)
  first.isolate.kill()
  spare.give(first)
  expect(spare.take()).not.toBe(first)
})

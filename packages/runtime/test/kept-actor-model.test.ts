// Durable machines against a run without faults: killed at every write to the disk, and again and again, they are afterwards
// what they would have been anyhow. Charts, events and kills are drawn; what fails prints its seed.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AnyActorRef } from 'xstate'
import { EVENTS, randomChart, type World } from './support/random-chart.ts'
import { KeptLife, kindOf, type Shape } from './support/kept-life.ts'
import { keptDisk, type KeptDisk } from './support/kept-store.ts'

type Step =
  | { readonly do: 'event'; readonly type: number; readonly v: number }
  | { readonly do: 'ring'; readonly which: number }
  | { readonly do: 'settle'; readonly which: number; readonly failed: boolean; readonly v: number }

const steps = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('event' as const), type: fc.nat(4), v: fc.nat(99) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('ring' as const), which: fc.nat(9) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant('settle' as const),
        which: fc.nat(9),
        failed: fc.boolean(),
        v: fc.nat(99),
      }),
    },
  ),
  { minLength: 1, maxLength: 14 },
)

/** What was decided in the run without faults: which timer, which child. */
interface Done {
  readonly step: Step
  readonly timer?: { readonly timer: number; readonly event: string } | undefined
  readonly child?: string | undefined
  /** How it was afterwards. */
  readonly shape: Shape
  /** What its actions had done in it. */
  readonly acted: readonly string[]
}

interface Call {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

/** One life's world: what it does after it was killed never happened. */
class LifeWorld implements World {
  readonly calls = new Map<AnyActorRef, Call>()
  readonly #alive: () => boolean
  readonly #acted: (what: string) => void
  constructor(alive: () => boolean, acted: (what: string) => void) {
    this.#alive = alive
    this.#acted = acted
  }
  acted(what: string): void {
    if (this.#alive()) this.#acted(what)
  }
  call(self: AnyActorRef): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.calls.set(self, { resolve, reject })
    return promise
  }
}

class Run {
  readonly disk: KeptDisk = keptDisk()
  readonly #seed: number
  readonly #every: number
  life: KeptLife | undefined
  world: LifeWorld | undefined
  acted: string[] = []
  /** Of the life that there is: it is killed when so many writes have reached the disk. */
  #left = Number.POSITIVE_INFINITY

  constructor(seed: number, every: number) {
    this.#seed = seed
    this.#every = every
  }

  get alive(): boolean {
    return this.disk.writes < this.#left
  }

  #open(writes: number): { store: ReturnType<KeptDisk['open']>; kind: ReturnType<typeof kindOf> } {
    this.#left = writes
    const store = this.disk.open({ writes })
    const world = new LifeWorld(
      () => this.alive && this.world === world,
      (what) => this.acted.push(what),
    )
    this.world = world
    return { store, kind: kindOf(randomChart(this.#seed, world), this.#every) }
  }

  /** Why it waits for another definition. */
  quarantined: string | undefined

  /** False: it was killed meanwhile. */
  async begin(writes = Number.POSITIVE_INFINITY): Promise<boolean> {
    const { store, kind } = this.#open(writes)
    return this.#unlessKilled(async () => {
      this.life = await KeptLife.begin(kind, store)
    })
  }

  async again(writes = Number.POSITIVE_INFINITY): Promise<boolean> {
    const { store, kind } = this.#open(writes)
    return this.#unlessKilled(async () => {
      const life = await KeptLife.again(kind, store)
      if (typeof life === 'string') this.quarantined = life
      else this.life = life
    })
  }

  async #unlessKilled(act: () => Promise<void>): Promise<boolean> {
    const hangs = Promise.withResolvers<never>()
    const timer = setTimeout(() => hangs.reject(new Error('it hangs')), 5_000)
    const acting = act().finally(() => clearTimeout(timer))
    acting.catch(() => undefined)
    await Promise.race([acting, this.disk.killed, hangs.promise])
    // What it did in the very instant was done.
    if (!this.alive) {
      clearTimeout(timer)
      return false
    }
    await acting
    return true
  }

  /** Until the step has been handled, or this life is over. */
  async step(index: number, step: Step, what: Pick<Done, 'timer' | 'child'>, before: number): Promise<boolean> {
    const life = this.life!
    const { kept } = life
    if (kept.handled > before) return true
    return this.#unlessKilled(async () => {
      if (step.do === 'event') await life.send({ type: EVENTS[step.type]!, v: step.v }, 'client', index + 1)
      else if (step.do === 'ring') await life.ring(what.timer!.timer, what.timer!.event)
      else {
        const call = this.world!.calls.get(life.child(what.child!))!
        if (step.failed) call.reject(new Error(`no ${step.v}`))
        else call.resolve({ v: step.v })
      }
      while (kept.handled === before) await life.changed()
      await kept.settled
    })
  }
}

/** As it goes when nothing goes wrong. */
async function faultless(
  seed: number,
  every: number,
  all: readonly Step[],
): Promise<{ first: Done; done: Done[]; writes: number }> {
  const run = new Run(seed, every)
  await run.begin()
  const { kept } = run.life!
  const first: Done = { step: all[0]!, shape: run.life!.shape(), acted: run.acted.splice(0) }
  const done: Done[] = []
  for (const [index, step] of all.entries()) {
    if (run.life!.snapshot.status !== 'active') break
    const timers = kept.timers
    // Where xstate enters a state again by its history without leaving it, it begins nothing of what it says it runs there.
    const running = run.life!.running.filter((id) => run.world!.calls.has(run.life!.child(id)))
    if (step.do === 'ring' && timers.length === 0) continue
    if (step.do === 'settle' && running.length === 0) continue
    const what = {
      ...(step.do === 'ring' && { timer: timers[step.which % timers.length]! }),
      ...(step.do === 'settle' && { child: running[step.which % running.length]! }),
    }
    await run.step(index, step, what, kept.handled)
    done.push({ step, ...what, shape: run.life!.shape(), acted: run.acted.splice(0) })
  }
  // What is on its way to the disk may be the last that a kill meets.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  const { writes } = run.disk
  run.disk.bury()
  return { first, done, writes }
}

function statusOf({ persisted }: Shape): string {
  return (persisted as { status: string }).status
}

/** The same, but for lives that end after so many writes each; the last one does not. */
async function killed(
  seed: number,
  every: number,
  all: readonly Step[],
  { first, done }: { first: Done; done: readonly Done[] },
  kills: readonly number[],
): Promise<void> {
  const run = new Run(seed, every)
  const left = [...kills]
  const next = (): number => left.shift() ?? Number.POSITIVE_INFINITY
  let going = await run.begin(next())
  if (!going && run.disk.rows('actor').length === 0) return run.disk.bury() // it never came to be
  // Behind its start, and each step after the other.
  for (let at = -1; at < done.length; at++) {
    const one = done[at] ?? first
    const before = (done[at - 1] ?? first).shape
    let unharmed = going
    for (;;) {
      if (!going) {
        unharmed = false
        going = await run.again(next())
        if (!going) continue
        if (run.quarantined) {
          // What throws now may be another chart, and not the one that had thrown already and could not say so any more.
          expect(statusOf(one.shape), run.quarantined).toBe('error')
          return run.disk.bury()
        }
        // Nobody knows whether what was under way had come: everything before it had.
        const found = run.life!.shape()
        expect(found, `after a kill in step ${at}`).toEqual(found.handled === before.handled ? before : one.shape)
      }
      going = at < 0 || (await run.step(all.indexOf(one.step), one.step, one, before.handled))
      if (going) break
    }
    expect(run.life!.shape(), `behind step ${at}`).toEqual(one.shape)
    const acted = run.acted.splice(0)
    // Once at most: it may have been in the midst of them.
    expect(acted, `what was done in step ${at}`).toEqual(unharmed ? one.acted : one.acted.slice(0, acted.length))
  }
  run.disk.bury()
}

describe('a durable machine', () => {
  test('killed at every write, it is as without', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(1_000_000), fc.integer({ min: 1, max: 6 }), steps, async (seed, every, all) => {
        const model = await faultless(seed, every, all)
        for (let writes = 1; writes <= model.writes; writes++) await killed(seed, every, all, model, [writes])
      }),
      { numRuns: Number(process.env['ERRAND_RUNS'] ?? 40) },
    )
  })

  test('killed again and again, at its restarts too', { timeout: 60_000 }, async () => {
    const kills = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1_000_000),
        fc.integer({ min: 1, max: 6 }),
        steps,
        kills,
        async (seed, every, all, lives) => {
          const model = await faultless(seed, every, all)
          await killed(seed, every, all, model, lives)
        },
      ),
      { numRuns: Number(process.env['ERRAND_RUNS'] ?? 40) * 5 },
    )
  })
})

// What a spare process does with its waiting: runs a script that says a little, so that what every script needs has been
// compiled before the first one comes. That takes the half of what its first record would wait for otherwise.
import { encode } from '@errand/transport'
import type { SessionSnapshot } from '../surface.ts'
import type { WorkSpec } from '../wire.ts'
import type { Engine, Execution, ExecutionSpec } from './engine.ts'

/**
 * Enough that V8 has compiled all of it for good: with a tenth of it the first 10 000 records of a job take 50 ms instead
 * of 20. A round is over, or stopped, within a turn of the script host when work comes.
 */
const ROUNDS = 3
const RECORDS = 6000
/** A process that was started for a job has it by then: it is not kept waiting. */
const IDLE_MS = 25

/**
 * A few of all kinds, then what most are: code that was compiled for some of them is thrown away when the first of another
 * kind comes.
 */
const SCRIPT = `function* (ctx, count) {
  const long = 'more than is written by hand, and more than that, and more'
  yield { id: 0, name: long, ok: true, more: Array.from({ length: 30 }, (_, at) => at + 0.5) }
  yield { id: 300, name: long, ok: true, more: Array.from({ length: 30 }, (_, at) => at + 0.5) }
  yield [new Date(), new Map([[1, 'a']]), new Set(['b']), new Uint8Array(9), 1n, -1, -0.5, null, undefined, long, [], {}]
  for (let id = 0; id < count; id++) yield { id: id * 300, name: 'as most are', ok: true }
}`

/**
 * The engine of an isolate of its own, which warms up until it is given work. Nothing of that is heard outside, and no
 * timer of it keeps the process.
 */
export function warming(engine: Engine): Engine {
  let rounds = 0
  let timer: NodeJS.Timeout | undefined
  let under: Execution | undefined
  const round = (): void => {
    const execution = engine.start(spec(), {
      chunk: ({ bytes }) => execution.credit(bytes.byteLength),
      ended(ending) {
        under = undefined
        encode(ending, { lossy: true })
        if (timer && ++rounds < ROUNDS) timer = setTimeout(round, 1).unref()
      },
    })
    under = execution
  }
  const enough = (): void => {
    clearTimeout(timer)
    timer = undefined
    under?.stop({ grace: 0 })
    under = undefined
  }
  timer = setTimeout(round, IDLE_MS).unref()
  return {
    start(given, io) {
      enough()
      return engine.start(given, io)
    },
    complete: (text) => engine.complete!(text),
    [Symbol.asyncDispose]() {
      enough()
      return engine[Symbol.asyncDispose]()
    },
  }
}

function spec(): ExecutionSpec {
  const payload = encode({ args: [RECORDS] })
  const work: WorkSpec = { startId: '', kind: 'function', source: SCRIPT, command: '', payload }
  return { job: '', location: '', session: {} as SessionSnapshot, work }
}

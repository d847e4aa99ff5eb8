// What stands in the stack of an error that ended a job, and what a failed job takes because of it.
import { decode, encode } from '@errand/transport'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { held } from '../../transport/campaigns/fixtures/heap.ts'
import { createPeer, JobStateError, type Job, type Peer, type ScriptContext } from '../src/index.ts'
import { cutOwnStack, cutStack } from '../src/error-stack.ts'
import { singleRecord } from '../src/record.ts'
import { InstantSession, type Deed } from './support/instant-session.ts'
import { all } from './support/peers.ts'

const MANY = 1_000

let peer: Peer
beforeAll(async () => {
  peer = await createPeer()
})
afterAll(() => peer.close())

const throws = (): never => {
  const below = (): never => {
    throw new RangeError('it failed as it had to', { cause: new Error('below') })
  }
  return below()
}

async function reasonOf(starting: Promise<Job>): Promise<Error> {
  const job = await starting
  await job.finished
  expect(job.state).toBe('Failed')
  const records = await all(job.receive({ kinds: ['error'] }))
  const last = records.at(-1)
  // What the log says and what the job says is the same.
  expect(last?.kind === 'error' && last.error.stack).toBe(job.reason?.stack)
  return job.reason!
}

describe('a stack', () => {
  test.each(['thread', 'process', 'runspace'] as const)('ends where the script begins: %s', async (engine) => {
    const { stack, cause } = await reasonOf(peer.start(throws, { engine }))
    const lines = stack!.split('\n')
    expect(lines[0]).toBe('RangeError: it failed as it had to')
    expect(lines).toHaveLength(3)
    for (const line of lines.slice(1)) expect(line).toContain('errand:script:')
    expect((cause as Error).stack!.split('\n').at(-1)).toContain('errand:script:')
  })

  test('of an item of a map too, and of what comes out of a library of Node’s it keeps the frames above', async () => {
    const job = await peer.map([1], () => [1].map(() => decodeURIComponent('%')))
    await job.finished
    const [record] = await all(job.receive({ kinds: ['error'] }))
    const lines = record?.kind === 'error' ? record.error.stack!.split('\n') : []
    expect(lines[1]).toContain('decodeURIComponent')
    expect(lines.at(-1)).toContain('errand:script:')
  })

  test('of an error that errand says itself there are no frames', async () => {
    const { stack } = await reasonOf(peer.start(['sh', '-c', 'exit 3']))
    expect(stack).toBe('CommandExitError: sh ended with exit code 3')
  })

  test('keeps lines of a message that look like frames, and stays as it is where it cannot be cut', () => {
    const odd = new Error(`first\n    at node:internal/second`)
    odd.stack = 'Error: first\n    at node:internal/second\nthird\n    at node:internal/x:1:1'
    cutStack(odd)
    expect(odd.stack).toBe('Error: first\n    at node:internal/second\nthird')
    const frozen = new Error('frozen')
    frozen.stack = 'Error: frozen\n    at node:internal/x:1:1'
    Object.freeze(frozen)
    expect(() => cutStack(frozen)).not.toThrow()
    const hostile = Object.defineProperty(new Error('hostile'), 'stack', {
      get() {
        throw new Error('no')
      },
    })
    expect(() => cutStack(hostile)).not.toThrow()
    const round = new Error('round')
    round.cause = round
    expect(() => cutStack(round)).not.toThrow()
  })

  test('of a fault in errand keeps its frames: only what has a code is cut', () => {
    const stack = (error: Error): string => {
      error.stack = `${error.name}: x\n    at node:internal/x:1:1`
      cutOwnStack(error)
      return error.stack
    }
    expect(stack(new TypeError('x'))).toContain('node:internal')
    expect(stack(new JobStateError('x'))).not.toContain('node:internal')
  })
})

const failing: [what: string, start: () => Promise<Job>][] = [
  ['a script', () => peer.start(() => JSON.parse('no'), { engine: 'thread' })],
  ['a command', () => peer.start(['sh', '-c', 'exit 3'])],
  ['a thread that has ended', () => peer.start((_ctx: ScriptContext) => process.exit(1), { engine: 'thread' })],
]
test.each(failing)(
  'of %s: failed it takes at most 2 KiB, with the error in its log and as its reason, and tells it whole',
  async (_, start) => {
    const reason = await reasonOf(start())
    const bytes = encode(reason, { lossy: true })
    // Of each its own, as they come out of their isolates.
    const fails = (): Deed => {
      const error = decode(bytes) as Error
      return { says: [singleRecord('error', error)], ending: { outcome: 'failed', error, said: true } }
    }
    await using many = new InstantSession(fails)
    // The least of several: what is made once, whatever the number of jobs, counts in the first.
    let each = Infinity
    for (let round = 0, before = await held(); round < 2; round++) {
      await many.fill(MANY)
      const after = await held()
      each = Math.min(each, (after - before) / MANY)
      before = after
    }
    expect(each).toBeLessThan(2048)
    // It is not what nothing would take: the measurement saw them.
    expect(each).toBeGreaterThan(500)
    expect((await many.job(2 * MANY)).reason?.stack).toBe(reason.stack)
  },
  60_000,
)

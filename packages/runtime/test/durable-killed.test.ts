// A real peer with a durable machine, really killed: the campaign `durable`, a little of it. All of it: `npm run -s durable`.
import { expect, test } from 'vitest'
import { testProgram } from '../../../scripts/test-program.ts'
import { campaign } from '../campaigns/durable.ts'

const PROGRAM = testProgram(new URL('../campaigns/fixtures/durable-peer.ts', import.meta.url))
const KILLS = Number(process.env['ERRAND_DURABLE_KILLS'] ?? 4)
const SEED = Number(process.env['ERRAND_SEED'] ?? Date.now() % 1_000_000)

test(
  `killed ${KILLS} times at random instants it is as without: nothing twice, nothing lost, nothing early`,
  { timeout: 60_000 + KILLS * 15_000 },
  async () => {
    const events = 12 * KILLS
    const { lives, ticks, rings, works, undone } = await campaign({
      kills: KILLS,
      events,
      seed: SEED,
      program: PROGRAM,
    })
    // It says so by not throwing; this, that it had something to look at.
    expect(lives).toBe(KILLS + 1)
    expect(ticks + undone).toBeGreaterThanOrEqual(events)
    expect(rings * works).toBeGreaterThan(0)
  },
)

// npm run -s campaign -- network-cuts [SECONDS…]: a counter job at 100 records/s in a session on a peer in another network
// namespace, and the cable cut for so long (1, 10, 60), or for good (0); once so that both sides see it, once so that
// nobody is told. Prints what the client has then; throws where a record is missing, or the truth took longer than 2 s.
// Heartbeat and suspicion are the defaults. Needs root and iproute2.
import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { Namespaces, obstacle } from '../../transport/campaigns/fixtures/namespaces.ts'
import { Random } from '../../transport/campaigns/fixtures/random.ts'
import { type Entry, readHistory } from './fixtures/fault-history.ts'
import { Stage } from './fixtures/fault-stage.ts'
import { check, FINDINGS } from './fixtures/history-checker.ts'

const CUTS = ['1', '10', '60', '0']
const DEFAULTS = { heartbeat: 1_000, suspicion: 4_000 } as const
/** How long a link that is cut for good is tried again: the default is 4 min. */
const LOST_AFTER = 10_000
/** The counter goes on for so long behind the cut, in ms. */
const BEHIND = 5_000
const RATE = 100

const HOW: Readonly<Record<string, { cut(net: Namespaces): void; heal(net: Namespaces): void }>> = {
  'seen by both': { cut: (net) => net.link('down'), heal: (net) => net.link('up') },
  'told nobody': {
    cut: (net) => (['a', 'b'] as const).forEach((side) => net.lose(side, true)),
    heal: (net) => (['a', 'b'] as const).forEach((side) => net.lose(side, false)),
  },
}

async function cut(seconds: number, how: string, net: Namespaces): Promise<string[]> {
  const forGood = seconds === 0
  const count = forGood ? 1_500 : (seconds * 1_000 + BEHIND) / (1_000 / RATE)
  const stage = new Stage({
    random: new Random(seconds),
    net,
    daemon: DEFAULTS,
    client: { ...DEFAULTS, ...(forGood && { lostAfter: LOST_AFTER }) },
    work: [{ kind: 'process', count, pause: 1_000 / RATE - 1 }],
  })
  const way = HOW[how]!
  let told: Entry[]
  try {
    await stage.begin()
    await delay(1_000)
    stage.note({ what: 'fault', name: how })
    way.cut(net)
    if (forGood) {
      stage.note({ what: 'expired' }) // nobody can look what there is in the end
      await stage.until(
        'it is given up',
        () => stateOf(readHistory(stage.folder), 'session') === 'Disconnected',
        40_000,
      )
      await stage.until('over there it goes on to its end', () => has(readHistory(stage.folder), 'said'), 40_000)
    } else {
      await delay(seconds * 1_000)
      way.heal(net)
      stage.note({ what: 'healed' })
      await stage.finish()
    }
    told = readHistory(stage.folder)
  } finally {
    net.mend()
    await stage.close()
  }
  const { findings, truths, records } = check(readHistory(stage.folder))
  const wrong = FINDINGS.flatMap((one) => findings[one].map((text) => `${one}: ${text}`))
  if (forGood) {
    for (const which of ['session', 'job'] as const)
      if (stateOf(told, which) !== 'Disconnected')
        wrong.push(`the ${which} is ${stateOf(told, which)}, not Disconnected`)
  }
  if (wrong.length > 0) throw new Error(`${seconds} s, ${how} (${stage.folder}): ${wrong.join('; ')}`)
  rmSync(stage.folder, { recursive: true, force: true })
  const states = told.filter((one) => one.what === 'state' && one.asked !== true)
  const seen = states.flatMap((one) => (one.what === 'state' && one.of !== jobOf(told) ? [one.state] : []))
  return [
    forGood ? 'for good' : `${seconds} s`,
    how,
    forGood ? `0…${records - 1}` : `0…${count - 1}`,
    'none',
    forGood ? '–' : Math.max(...truths).toFixed(0),
    seen.join(' → '),
  ]
}

function jobOf(history: readonly Entry[]): string | undefined {
  return history.find((one) => one.what === 'acknowledged')?.job
}

/** As the client sees it at last. */
function stateOf(history: readonly Entry[], of: 'session' | 'job'): string | undefined {
  const job = jobOf(history)
  const states = history.filter((one) => one.what === 'state')
  return states.findLast((one) => (one.of === job) === (of === 'job'))?.state
}

function has(history: readonly Entry[], what: Entry['what']): boolean {
  return history.some((one) => one.what === what)
}

export async function run(args: readonly string[]): Promise<void> {
  const cuts = (args.length > 0 ? args : CUTS).map(Number)
  if (cuts.some((one) => !(one >= 0))) throw new Error(`network-cuts [SECONDS…], not '${args.join(' ')}'`)
  const why = obstacle()
  if (why !== undefined) {
    console.error(why)
    process.exit(2)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
  using net = new Namespaces()
  const failures: Error[] = []
  console.log(line(['cut', 'how', 'records', 'missing', 'truth ms', 'the session as the client saw it']))
  for (const seconds of cuts) {
    for (const how of Object.keys(HOW)) {
      try {
        console.log(line(await cut(seconds, how, net)))
      } catch (error) {
        console.log(line([String(seconds), how, 'FAILED']))
        failures.push(error as Error)
      }
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('\n'))
}

function line(cells: readonly string[]): string {
  const widths = [8, 12, 8, 7, 8, 0]
  return `| ${cells.map((it, i) => it.padEnd(widths[i]!)).join(' | ')} |`
}

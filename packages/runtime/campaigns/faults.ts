// npm run -s faults -- [--runs N] [--seed S] [--only FAULT,…] [--at-once N]: a daemon and a client in processes of their own, with work
// going on between them, and everything that may happen to either of them or between them, at random instants. N runs
// (34) are dealt out to the faults in turn, one at a time or several at once; each has its own seed, and one that failed
// can be repeated alone by it. A run takes some ten seconds. Prints a table; throws where a promise was broken.
//
// Times to truth are in milliseconds from the heal; `own` leaves out what daemon and client, ready to go on, had to wait for
// a processor that other programs had, and is what is judged.
//
// What was promised is in one place, whatever the fault: fixtures/history-checker.ts. Linux; some need root (iproute2).
import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Namespaces, obstacle } from '../../transport/campaigns/fixtures/namespaces.ts'
import { Random } from '../../transport/campaigns/fixtures/random.ts'
import { within } from '../../transport/campaigns/fixtures/told-process.ts'
import { readHistory, type Entry } from './fixtures/fault-history.ts'
import { STORE } from './fixtures/durable-store.ts'
import { BEAT, Stage, type StageOptions } from './fixtures/fault-stage.ts'
import { check, FINDINGS, type Verdict } from './fixtures/history-checker.ts'
import { alive } from './fixtures/marked.ts'

/** A run takes less than a quarter of it. */
const HANGS = 150_000
/** Silence for so long is noticed, whatever else the machine has to do. */
const NOTICED = BEAT.suspicion + BEAT.heartbeat + 750

interface Fault {
  /** It cuts a cable. */
  readonly net?: true
  readonly stage?: Pick<StageOptions, 'daemon' | 'kept'>
  play(stage: Stage): Promise<void>
  /** Default: the work ends, and is read to its end. */
  finish?(stage: Stage): Promise<void>
}

/** Something that is over after `ms`. */
async function passing(stage: Stage, name: string, ms: number, begin: () => void, end: () => void): Promise<void> {
  stage.note({ what: 'fault', name })
  begin()
  await delay(ms)
  end()
  stage.note({ what: 'healed' })
}

/** The process in which this work goes on is killed: it fails, and so may `others` there; nobody else notices. */
async function kill(stage: Stage, start: string, others?: RegExp): Promise<void> {
  const pid = stage.pidOf(start)!
  stage.note({ what: 'hurt', start })
  stage.note({ what: 'fault', name: `${start} killed` })
  if (alive(pid)) process.kill(pid, 'SIGKILL')
  stage.note({ what: 'healed' })
  if (others === undefined) return
  // What is started before that end has been noticed is given to the dead one too, and nobody can know how far it came.
  for (const one of await noticed(stage, start))
    if (one.what === 'asked' && others.test(one.start)) stage.note({ what: 'hurt', start: one.start })
}

/** The history, as soon as it says that this work has failed. */
async function noticed(stage: Stage, start: string): Promise<readonly Entry[]> {
  let history: readonly Entry[] = []
  const hasFailed = (): boolean => {
    history = readHistory(stage.folder)
    const jobs = new Set(history.flatMap((one) => (one.what === 'acknowledged' && one.start === start ? one.job : [])))
    return history.some((one) => one.what === 'state' && jobs.has(one.of) && one.state === 'Failed')
  }
  await stage.until(`that ${start} was killed is noticed`, hasFailed, HANGS)
  return history
}

/** A start was refused for want of room. */
function refused(stage: Stage): boolean {
  return readHistory(stage.folder).some((one) => one.what === 'refused' && one.code === 'STORE_FULL')
}

function freeze(who: 'client' | 'daemon', least: number, more: number): Fault['play'] {
  return (stage) => {
    const { child } = stage[who]
    return passing(
      stage,
      `${who} stopped`,
      least + stage.random.below(more),
      () => void child.kill('SIGSTOP'),
      () => void child.kill('SIGCONT'),
    )
  }
}

function linkDown(least: number, more: number): Fault['play'] {
  return (stage) =>
    passing(
      stage,
      'link down',
      least + stage.random.below(more),
      () => stage.net!.link('down'),
      () => stage.net!.link('up'),
    )
}

const LEASE = 2_000

const FAULTS: Readonly<Record<string, Fault>> = {
  none: { play: async () => undefined },

  'client-killed': {
    async play(stage) {
      for (let times = 1 + stage.random.below(2); times > 0; times--) {
        stage.note({ what: 'fault', name: 'client killed' })
        stage.client.kill()
        await stage.client.exit
        await stage.pause(500)
        await stage.nextClient()
        await stage.pause(500)
      }
    },
  },

  // What says it began in that process: its job, and nothing else.
  'child-killed': { play: (stage) => kill(stage, stage.random.pick(['process', 'command'])) },

  // The process that all thread jobs of the session share.
  'threads-killed': { play: (stage) => kill(stage, 'thread', /^small-.*-thread$/) },

  // The process that has the session's runspace.
  'runspace-killed': { play: (stage) => kill(stage, 'run') },

  'daemon-killed': {
    stage: { kept: 'disk' },
    async play(stage) {
      for (let times = 1 + stage.random.below(2); times > 0; times--) {
        stage.note({ what: 'fault', name: 'daemon killed' })
        stage.note({ what: 'crashed' })
        stage.daemon.kill()
        await stage.daemon.exit
        await stage.pause(500)
        await stage.nextDaemon()
        await stage.pause(1_500)
      }
    },
  },

  'disk-full': {
    stage: { kept: 'small' },
    async play(stage) {
      stage.note({ what: 'fault', name: 'disk full' })
      stage.disk.fill()
      try {
        await stage.pause(3_000)
        // A busy machine may take its time to ask for one.
        await stage.until('a start is refused', () => refused(stage), HANGS)
      } finally {
        stage.disk.free()
      }
      stage.note({ what: 'healed' })
    },
  },

  'client-stopped': { play: freeze('client', NOTICED, 3_000) },

  'daemon-stopped': { play: freeze('daemon', NOTICED, 3_000) },

  'stopped-briefly': {
    play: (stage) => freeze(stage.random.pick(['client', 'daemon'] as const), 50, BEAT.suspicion - 300)(stage),
  },

  'stopped-past-lease': {
    stage: { daemon: { idleTimeout: LEASE } },
    async play(stage) {
      const pids = ['process', 'thread', 'command', 'run'].map((start) => stage.pidOf(start)!)
      stage.note({ what: 'expired' })
      await passing(
        stage,
        'client stopped past the lease',
        NOTICED + LEASE + 3_000,
        () => void stage.client.child.kill('SIGSTOP'),
        () => void stage.client.child.kill('SIGCONT'),
      )
      const left = pids.filter(alive)
      if (left.length > 0) throw new Error(`the lease is over, and ${left.length} of its processes live`)
    },
    // What was started is gone with the session: there is nothing to be looked at again.
    finish: async (stage) => {
      await stage.client.tell({ do: 'enough' })
      await stage.client.tell({ do: 'finish' })
    },
  },

  'slow-reader': {
    async play(stage) {
      stage.note({ what: 'fault', name: 'slow reader' })
      await stage.client.tell({ do: 'slow', ms: 20 + stage.random.below(40) })
      await delay(1_000 + stage.random.below(3_000))
      await stage.client.tell({ do: 'slow', ms: 0 })
      stage.note({ what: 'healed' })
    },
  },

  'clock-steps': {
    async play(stage) {
      const hours = [-48, -1, 1, 48].map((one) => one * 3_600_000)
      for (let times = 3; times > 0; times--) {
        stage.note({ what: 'fault', name: 'clock set' })
        const ms = stage.random.pick(hours)
        await stage[stage.random.pick(['client', 'daemon'] as const)].tell({ do: 'step', ms })
        stage.note({ what: 'healed' })
        await stage.pause(500)
      }
    },
  },

  'link-down-briefly': { net: true, play: linkDown(50, BEAT.suspicion - 300) },

  'link-down': { net: true, play: linkDown(NOTICED, 5_000) },

  'link-flapping': {
    net: true,
    async play(stage) {
      for (let times = 6; times > 0; times--) {
        await linkDown(50, 2 * BEAT.suspicion)(stage)
        await stage.pause(BEAT.suspicion)
      }
    },
  },

  'link-one-way': {
    net: true,
    play(stage) {
      const from = stage.random.pick(['a', 'b'] as const)
      return passing(
        stage,
        `what ${from} sends is lost`,
        NOTICED + stage.random.below(4_000),
        () => stage.net!.lose(from, true),
        () => stage.net!.lose(from, false),
      )
    },
  },
}

/** Why nothing outlives a daemon here, if so. */
async function noStore(): Promise<string | undefined> {
  try {
    await import(STORE)
    return undefined
  } catch (error) {
    return `there is no durable store here (${STORE}: ${String((error as { code?: string }).code)})`
  }
}

interface Row {
  runs: number
  failed: number
  readonly verdicts: Verdict[]
}

/** One run; its history stays where something was wrong. */
async function play(name: string, seed: number, net: Namespaces | undefined): Promise<Verdict> {
  const fault = FAULTS[name]!
  const random = new Random(seed, Object.keys(FAULTS).indexOf(name))
  const stage = new Stage({ random, ...(fault.net && { net }), ...fault.stage })
  let failure: unknown
  try {
    await within(
      HANGS,
      'a run',
      (async () => {
        await stage.begin()
        await stage.pause(1_000)
        await fault.play(stage)
        await (fault.finish ? fault.finish(stage) : stage.finish())
      })(),
    )
  } catch (error) {
    failure = error
  } finally {
    if (fault.net) net?.mend()
    await stage.close()
  }
  const verdict = check(readHistory(stage.folder))
  const wrong = FINDINGS.flatMap((one) => verdict.findings[one].slice(0, 5).map((text) => `${one}: ${text}`))
  if (failure !== undefined) wrong.unshift(`failed: ${(failure as Error).message}`)
  if (wrong.length === 0) rmSync(stage.folder, { recursive: true, force: true })
  else {
    console.error(`✗ ${name}, seed ${seed}; its history: ${stage.folder}\n  ${wrong.join('\n  ')}`)
    console.error(`  again: npm run -s faults -- --only ${name} --seed ${seed} --runs 1`)
  }
  if (failure !== undefined) throw failure
  return verdict
}

export async function run(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: { type: 'string', default: '34' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
      'at-once': { type: 'string', default: '1' },
    },
  })
  const [runs, seed, atOnce] = [values.runs, values.seed, values['at-once']].map(Number) as [number, number, number]
  const names = values.only?.split(',') ?? Object.keys(FAULTS)
  const unknown = names.filter((name) => !(name in FAULTS))
  if (unknown.length > 0 || !isCount(runs) || !isCount(atOnce) || !Number.isInteger(seed)) {
    throw new Error(
      `faults [--runs N] [--seed S] [--only FAULT,…] [--at-once N], not '${args.join(' ')}'; faults: ${Object.keys(FAULTS).join(', ')}`,
    )
  }
  const [why, notKept] = [obstacle(), await noStore()]
  const played = names.filter((name) => {
    const { net, stage } = FAULTS[name]!
    const root = process.getuid?.() === 0 ? undefined : 'a small disk needs root'
    const skipped = (net && why) ?? (stage?.kept && notKept) ?? (stage?.kept === 'small' ? root : undefined)
    if (skipped !== undefined) console.error(`${name} is skipped: ${skipped}`)
    return skipped === undefined
  })
  if (played.length === 0) throw new Error('nothing of this can be played here')
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130))
  const rows = new Map<string, Row>(played.map((name) => [name, { runs: 0, failed: 0, verdicts: [] }]))
  let begun = 0
  let ended = 0
  const lane = async (index: number): Promise<void> => {
    // A cable of its own, for two would be cut at once.
    const nets = played.some((name) => FAULTS[name]!.net)
    using net = nets ? new Namespaces(String.fromCodePoint(97 + index)) : undefined
    while (begun < runs) {
      const name = played[begun++ % played.length]!
      const row = rows.get(name)!
      const own = seed + row.runs++
      try {
        row.verdicts.push(await play(name, own, net))
      } catch {
        row.failed++
      }
      if (process.stderr.isTTY) process.stderr.write(`\r${++ended} of ${runs} runs${ended === runs ? '\n' : ''}`)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, runs) }, (_, index) => lane(index)))
  print(rows, seed)
  const broken = [...rows.values()].some(
    ({ failed, verdicts }) => failed > 0 || verdicts.some((one) => FINDINGS.some((it) => one.findings[it].length > 0)),
  )
  if (broken) throw new Error('promises were broken')
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value > 0
}

function print(rows: ReadonlyMap<string, Row>, seed: number): void {
  const head = [
    'fault',
    'seeds',
    'runs',
    'failed',
    'starts',
    'records',
    ...FINDINGS,
    'truth p50 ms',
    'max ms',
    'own max ms',
  ]
  const lines = [...rows].map(([name, { runs, failed, verdicts }]) => {
    const truths = verdicts.flatMap((one) => one.truths).toSorted((a, b) => a - b)
    const sum = (count: (one: Verdict) => number): string => String(verdicts.reduce((all, one) => all + count(one), 0))
    return [
      name,
      `${seed}…${seed + runs - 1}`,
      String(runs),
      String(failed),
      sum((one) => one.starts),
      sum((one) => one.records),
      ...FINDINGS.map((finding) => sum((one) => one.findings[finding].length)),
      (truths[Math.floor(truths.length / 2)] ?? 0).toFixed(0),
      (truths.at(-1) ?? 0).toFixed(0),
      Math.max(0, ...verdicts.flatMap((one) => one.ownTruths)).toFixed(0),
    ]
  })
  const widths = head.map((text, column) => Math.max(text.length, ...lines.map((line) => line[column]!.length)))
  const row = (cells: readonly string[]): string => `| ${cells.map((it, i) => it.padEnd(widths[i]!)).join(' | ')} |`
  console.log(row(head))
  console.log(row(widths.map((width) => '-'.repeat(width))))
  for (const line of lines) console.log(row(line))
}

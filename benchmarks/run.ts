// npm run bench -- [SUITE] [CASE…] [--json] [--check]
//
// Ours beside the peers, each pair measured in the same run. Without names: everything. `--json`: a line of JSON for each
// case, and nothing else. `--check`: fails where a case misses its target, or could not be measured.

import { actors, cases as actorCases } from './actors/cases.ts'
import { targets as actorTargets } from './actors/targets.ts'
import { cases as cliCases, cli } from './cli/cases.ts'
import { targets as cliTargets } from './cli/targets.ts'
import { cases as jobCases, jobs } from './jobs/cases.ts'
import { targets as jobTargets } from './jobs/targets.ts'
import { cases as remoteCases, remote } from './remote/cases.ts'
import { targets as remoteTargets } from './remote/targets.ts'
import { cases as storeCases, store } from './store/cases.ts'
import { targets as storeTargets } from './store/targets.ts'
import { cases as transportCases, transport } from './transport/cases.ts'
import type { Row, Skipped } from './transport/row.ts'
import { targets as transportTargets } from './transport/targets.ts'

const targets = {
  ...transportTargets,
  ...remoteTargets,
  ...jobTargets,
  ...storeTargets,
  ...actorTargets,
  ...cliTargets,
}

interface Suite {
  readonly cases: readonly string[]
  /** The rows of these cases, each as soon as it is known. */
  rows(cases: ReadonlySet<string>): AsyncIterable<Row | Skipped>
}

const suites: Readonly<Record<Row['suite'], Suite>> = {
  transport: { cases: transportCases, rows: transport },
  remote: { cases: [...remoteCases, ...storeCases], rows: remoteAndStore },
  jobs: { cases: jobCases, rows: jobs },
  actors: { cases: actorCases, rows: actors },
  cli: { cases: cliCases, rows: cli },
}

/** Who is elsewhere, and what outlives it. */
async function* remoteAndStore(asked: ReadonlySet<string>): AsyncGenerator<Row | Skipped> {
  yield* remote(asked)
  yield* store(asked)
}

const args = process.argv.slice(2)
const flags = new Set(args.filter((arg) => arg.startsWith('--')))
const names = args.filter((arg) => !arg.startsWith('--'))
const json = flags.delete('--json')
const check = flags.delete('--check')
const known = Object.entries(suites).flatMap(([suite, { cases }]) => [suite, ...cases])
const unknown = [...flags, ...names.filter((name) => !known.includes(name))]
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(', ')}; there are: ${known.join(', ')}; and --json, --check`)
  process.exit(2)
}

const missed: string[] = []
if (!json) console.log(line('', 'ours', 'peer', '', 'ratio', 'peer is'))
for (const [name, suite] of Object.entries(suites)) {
  const asked = suite.cases.filter((one) => names.includes(one))
  // A suite by name, unless it is there to say whose cases are meant.
  const all = asked.length === 0 && (names.length === 0 || names.includes(name))
  const chosen = new Set(all ? suite.cases : asked)
  if (chosen.size === 0) continue
  for await (const row of suite.rows(chosen)) {
    if ('skipped' in row) {
      const skip = `${row.case}: skipped, ${row.skipped}`
      console.error(skip)
      if (row.case in targets) missed.push(skip)
      continue
    }
    if (json) console.log(JSON.stringify(row))
    else {
      const { ours, peer, unit, ratio, peerName, store } = row
      const beside = store === undefined ? peerName : `${peerName}; store: ${store}`
      console.log(line(row.case, figure(ours), figure(peer), unit, ratio.toFixed(2), beside))
    }
    const miss = missOf(row)
    if (miss !== undefined) missed.push(miss)
  }
}
if (!json)
  console.log('\nratio: how good ours is beside the peer; 1 is as good, more is better, also where less time is better')
if (check) {
  for (const miss of missed) console.error(miss)
  if (missed.length > 0) process.exitCode = 1
}

function missOf(row: Row): string | undefined {
  const target = targets[row.case]
  if (target === undefined) return undefined
  if ('ratio' in target) {
    if ('least' in target && row.ours >= target.least) return undefined
    return row.ratio < target.ratio
      ? `${row.case}: ratio ${row.ratio.toFixed(2)}, not ${target.ratio.toFixed(2)}`
      : undefined
  }
  return row.ours > target.most ? `${row.case}: ${figure(row.ours)} ${row.unit}, not ${target.most}` : undefined
}

function line(name: string, ours: string, peer: string, unit: string, ratio: string, peerName: string): string {
  const columns = [name.padEnd(34), ours.padStart(10), peer.padStart(10), unit.padEnd(10), ratio.padStart(6), peerName]
  return columns.join('  ').trimEnd()
}

/** Three digits that mean something. */
function figure(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en') : value.toPrecision(3)
}

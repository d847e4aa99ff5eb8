// What a long table costs: the same three requests to a peer with 100 finished jobs and to one with 100 000.

import { createPeer, type Job, type JobSnapshot, type Peer } from '@errand/runtime'
import { inTurns, median, progress, timed, typical } from '../transport/row.ts'

const FEW = 100
const MANY = 100_000
const TURNS = 9
const CALLS = 200

/** Microseconds of one call. */
export interface TableCost {
  readonly few: number
  readonly many: number
}

export interface TableCosts {
  /** `jobs({ newest: 20 })` */
  readonly newest20: TableCost
  /** Until a job is accepted, one at a time, in the runspace: no worker is waited for. */
  readonly start: TableCost
  /** All records, one, of a job that ended long ago. */
  readonly receive: TableCost
}

export async function tableCosts(): Promise<TableCosts> {
  await using few = await createPeer({ name: 'few' })
  await using many = await createPeer({ name: 'many' })
  await fill(few, FEW)
  await fill(many, MANY)
  return {
    newest20: await both(few, many, newest20),
    start: await both(few, many, start),
    receive: await both(few, many, receive),
  }
}

async function both(few: Peer, many: Peer, cost: (peer: Peer) => Promise<number>): Promise<TableCost> {
  return inTurns(TURNS, { few: () => cost(few), many: () => cost(many) })
}

function newest20(peer: Peer): Promise<number> {
  return typical(CALLS, async () => {
    const { length } = await peer.jobs({ newest: 20 })
    if (length !== 20) throw new Error(`the newest 20 were ${length}`)
  })
}

async function start(peer: Peer): Promise<number> {
  const times: number[] = []
  for (let call = 0; call < CALLS; call++) {
    let job: Job | undefined
    times.push(await timed(async () => void (job = await begin(peer))))
    // Beside the time, and the table is as it was.
    completed(await job!.finished)
    await job!.remove()
  }
  return median(times)
}

async function receive(peer: Peer): Promise<number> {
  const jobs = await Promise.all(Array.from({ length: FEW }, (_, index) => peer.job(index + 1)))
  let next = 0
  return typical(CALLS, async () => {
    let records = 0
    for await (const record of jobs[next++ % jobs.length]!.receive({ keep: true }))
      if (record.kind === 'output') records++
    if (records !== 1) throw new Error(`${records} outputs where there is one`)
  })
}

function begin(peer: Peer): Promise<Job> {
  return peer.start({ code: '1' }, { engine: 'runspace' })
}

async function fill(peer: Peer, count: number): Promise<void> {
  for (let done = 0; done < count; done++) {
    if (done % 1_000 === 0) progress(`filling ${done}/${count}`)
    completed(await (await begin(peer)).finished)
  }
  const { length } = await peer.jobs({ state: 'Completed' })
  if (length !== count) throw new Error(`${length} jobs have completed, not ${count}`)
}

function completed({ state }: JobSnapshot): void {
  if (state !== 'Completed') throw new Error(`a job is ${state}`)
}

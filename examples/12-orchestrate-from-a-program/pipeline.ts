// A pipeline as a program: build here, test on two machines at once, deploy only if both completed. The jobs are this
// machine's daemon's, not ours: killed in the middle and run again, this program takes up what it left.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { codeOf, connectLocal, isFinished, type Job, type LocalPeer } from '@errand/runtime/client'
import { build, deploy, test } from './steps.ts'

const [release = '1.0.0', source = 'http://localhost:8000/main.ts'] = process.argv.slice(2)

// Ctrl-C cancels: what waits below is given up, and the jobs are stopped.
const cancel = new AbortController()
const { signal } = cancel
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => cancel.abort(new Error('cancelled')))

await using daemon = await findOrStart()
try {
  const built = await step('build', () =>
    daemon.start(build, {
      name: `${release}-build`,
      args: [source],
      retry: { times: 3, delay: '100ms' },
      deadline: '1m',
    }),
  )
  await follow(built)
  const bundle = (await built.output({ signal }))[0]!
  console.log(`build   ${bundle.hash}, ${bundle.code.length} characters`)

  const tested = await step('test', () =>
    daemon.start(test, { name: `${release}-test`, on: ['server01', 'server02'], args: [bundle], deadline: '1m' }),
  )
  // It is the daemon that waits for the tests: it would also if this program ended here.
  const deployed = await step('deploy', () =>
    daemon.start(deploy, { name: `${release}-deploy`, after: tested, args: [bundle], deadline: '5m' }),
  )
  await Promise.all([follow(tested), answer(deployed, tested)])
  const [place] = await deployed.output({ signal })
  console.log(`deploy  ${place}`)
  for (const { location, passed, failed } of await tested.output()) {
    console.log(`report  ${location}: ${passed} passed, ${failed} failed`)
  }
  await cleanUp()
} catch (error) {
  if (!signal.aborted) throw error // the jobs stay, to be looked into: `errand logs 1.0.0-test`
  console.log('cancelled')
  await cleanUp()
  process.exitCode = 130
}

/** This machine's daemon; the first who needs it starts it. */
async function findOrStart(): Promise<LocalPeer> {
  try {
    return await connectLocal({ signal })
  } catch (error) {
    if (codeOf(error) !== 'PEER_UNREACHABLE') throw error
    console.log('daemon  starting')
    await promisify(execFile)('errand', ['up'])
    return connectLocal({ signal })
  }
}

/** The job of this step: what an earlier run of this program left, unless it failed, or a new one. */
async function step<O>(name: string, start: () => Promise<Job<O>>): Promise<Job<O>> {
  const [left] = await daemon.jobs({ name: `${release}-${name}` })
  if (left && left.state !== 'Failed' && left.state !== 'Stopped') {
    console.log(`${name.padEnd(7)} job ${left.id} taken up: ${left.state}`)
    return left as Job<O>
  }
  await left?.remove()
  const job = await start()
  console.log(`${name.padEnd(7)} job ${job.id} started on ${job.location}`)
  return job
}

/** Says how far it is. The cursor is kept with the job: another run of this program goes on where this one was. */
async function follow(job: Job): Promise<void> {
  const label = job.name.slice(release.length + 1).padEnd(7)
  for await (const record of job.receive({ follow: true, signal })) {
    if (record.kind === 'progress') console.log(`${label} ${record.location}: ${record.percent} %`)
    else if (record.kind === 'warning') console.log(`${label} ${String(record.value)}`)
    else if (record.kind === 'error') console.log(`${label} ${record.location}: ${record.error.message}`)
  }
}

/** Answers what it asks. With tests that did not complete it is never begun, and asks nothing. */
async function answer(job: Job, tests: Job<{ failed: number }>): Promise<void> {
  let answered: string | undefined
  for await (const { question } of job.watch({ signal })) {
    if (!question || question.id === answered) continue
    answered = question.id
    const reports = await tests.output({ signal })
    const value = reports.every(({ failed }) => failed === 0) ? 'yes' : 'no'
    console.log(`deploy  asks: ${question.prompt} ${value}`)
    await job.answer(value, { question: answered })
  }
}

/** Nothing of this release is left in the job table; what still runs is stopped first. */
async function cleanUp(): Promise<void> {
  for (const job of (await daemon.jobs({ name: `${release}-*` })).toReversed()) {
    if (!isFinished(job.state)) console.log(`${job.name}: ${(await job.stop()).state}`)
    await job.remove()
  }
}

// errand __complete: what the last word may become, for the scripts of `errand completion`. A person waits for it at each
// Tab, and what it printed else would stand in the middle of the line they type: it starts no peer and dials none,
// says nothing, and what has not answered in time is left out.
import { resolve } from 'node:path'
import { codeOf, connectLocal, isFinished, knownPeers, type JobSnapshot, type LocalPeer } from '@errand/runtime/client'
import { wantedAt, type Candidate, type Source, type Wanted } from '../complete.ts'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Failure } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { jobId } from '../render/job.ts'

/** How long what is alive may take to be told, in milliseconds, unless `--timeout` says so. */
const LIVE_MS = 400

/** Verbs that are for jobs in some states only. */
const JOBS_FOR: Readonly<Record<string, (job: JobSnapshot) => boolean>> = {
  stop: ({ state }) => !isFinished(state),
  suspend: ({ state }) => state === 'Running',
  resume: ({ state }) => state === 'Suspended',
  answer: ({ state }) => state === 'Blocked',
}

/** Prints what the shell is to do itself (`FILE`, `FOLDER`, `PROGRAM`, or nothing) and before which prefix, then the candidates. */
export default async function complete(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const wanted = await wantedAt(words)
  const live = wanted.sources.length === 0 ? [] : await alive(context, flags, wanted)
  const typed = wanted.typed.toLowerCase()
  const fits = [...wanted.candidates, ...live].filter(
    ({ value }) => value.toLowerCase().startsWith(typed) && !wanted.said.includes(value),
  )
  // A control character would end a line of ours, or the terminal's patience.
  const safe = fits.filter(({ value }) => !/\p{Cc}/u.test(value))
  const unique = [...new Map(safe.map((one) => [one.value, one])).values()]
  const lines = unique.map(({ value, about }) => `${wanted.prefix}${value}\t${about.replaceAll(/\p{Cc}+/gu, ' ')}\n`)
  await context.terminal.out(`${wanted.shell ?? ''}\t${wanted.prefix}\n${lines.join('')}`)
  return EXIT.done
}

/** What nobody could tell in time, or at all, is not there. */
async function alive(context: Context, flags: Flags, wanted: Wanted): Promise<Candidate[]> {
  const { signal } = flags.timeout === undefined ? { signal: AbortSignal.timeout(LIVE_MS) } : context
  const home = wanted.home === undefined ? context.home : resolve(context.cwd, wanted.home)
  let connecting: Promise<LocalPeer> | undefined
  const connect = (): Promise<LocalPeer> =>
    (connecting ??= home === context.home ? context.connect({ start: false, signal }) : connectLocal({ home, signal }))
  const asked = wanted.sources.map((source) => within(candidates(source, wanted, { connect, home, signal }), signal))
  try {
    return (await Promise.all(asked)).flat()
  } finally {
    // A daemon that does not answer would not take our goodbye either; the process ends with its sockets.
    void connecting?.then(
      (peer) => peer.close(),
      () => undefined,
    )
  }
}

interface Means {
  readonly connect: () => Promise<LocalPeer>
  readonly home: string
  readonly signal: AbortSignal
}

async function candidates(source: Source, wanted: Wanted, means: Means): Promise<Candidate[]> {
  switch (source) {
    case 'JOB':
      return jobs(wanted, means)
    case 'SESSION':
      return sessions(wanted, means, '')
    case 'PEER':
      return peers(means)
    case 'PLACE': {
      const held = await sessions(wanted, means, 'session:').catch(() => [])
      return [...(await peers(means)), { value: 'localhost', about: 'this machine, as if it were another' }, ...held]
    }
    case 'FIELD': {
      const { ANSWER_FIELDS, JOB_FIELDS, PEER_FIELDS, SESSION_FIELDS } = await import('../render/json.ts')
      const path = wanted.path ?? ''
      if (path === 'ask') return ANSWER_FIELDS.map((value) => ({ value, about: '' }))
      const fields = path.startsWith('session ') ? SESSION_FIELDS : path.startsWith('peer ') ? PEER_FIELDS : JOB_FIELDS
      return fields.map((value) => ({ value, about: '' }))
    }
    case 'TOPIC': {
      const { TOPICS } = await import('../topics.ts')
      return TOPICS.map(({ name, about }) => ({ value: name, about }))
    }
    case 'EVENT':
      return events(wanted, means)
    case 'MACHINE': {
      // Of this machine's peer: what others offer they are asked for by name.
      const { offers } = await (await means.connect()).status({ signal: means.signal })
      return wanted.at === undefined ? offers.machines.map((value) => ({ value, about: 'machine' })) : []
    }
    case 'KEY': {
      const { SETTINGS } = await import('../settings.ts')
      return SETTINGS.map(({ key, about }) => ({ value: key, about }))
    }
  }
}

/** Whoever is asked may be a daemon that stands still: then not even giving up is quick. */
function within(asked: Promise<Candidate[]>, signal: AbortSignal): Promise<Candidate[]> {
  const late = new Promise<Candidate[]>((resolve) =>
    signal.addEventListener('abort', () => resolve([]), { once: true }),
  )
  return Promise.race([asked.catch(() => []), late])
}

async function jobs({ typed, path, at }: Wanted, { connect, signal }: Means): Promise<Candidate[]> {
  const peer = await connect()
  const table = at === undefined ? peer : await tableOf(peer, at, signal)
  const includeChildren = typed.includes('.')
  const found = (await table.jobs({ ...(includeChildren && { includeChildren: true }), signal })).map(
    ({ snapshot }) => snapshot,
  )
  const fits = JOBS_FOR[path ?? ''] ?? (() => true)
  // By number, the newest first; by name for who types a letter.
  const wanted = found.filter(fits).toReversed()
  if (typed === '' || /^[\d.]+$/.test(typed)) {
    return wanted.map((job) => ({ value: jobId(job), about: `${job.state}  ${job.name}` }))
  }
  return wanted.map((job) => ({ value: job.name, about: `${job.state}  ${jobId(job)}  ${job.command}` }))
}

/** What the machine that is named before them accepts now. */
async function events({ said, at }: Wanted, { connect, signal }: Means): Promise<Candidate[]> {
  const peer = await connect()
  const { jobWord } = await import('../work.ts')
  const table = at === undefined ? peer : await tableOf(peer, at, signal)
  const job = await table.job(jobWord(said[0] ?? ''), { signal })
  if (job.type !== 'MachineJob') return []
  const { accepts, machine } = await job.inspect({ signal })
  return accepts.map((value) => ({ value, about: `event of ${machine}` }))
}

/** The first of several: whatever is typed there is meant for all of them. */
async function tableOf(peer: LocalPeer, at: string, signal: AbortSignal): Promise<Pick<LocalPeer, 'jobs' | 'job'>> {
  const [first = ''] = at.split(',')
  if (first === 'all') return peer
  const { sessionWord } = await import('../places.ts')
  const session = sessionWord(first)
  if (session !== undefined) return peer.session(session, { signal })
  // Where there is no connection none is made for a Tab.
  const small = first.toLowerCase()
  const known = await peer.peers({ signal })
  const there = known.find(({ name, id }) => name.toLowerCase() === small || id === first)
  if (there && !there.connected) {
    const none = async (): Promise<never> => {
      throw new Failure('PEER_UNREACHABLE', `${first} is not connected`)
    }
    return { jobs: async () => [], job: none }
  }
  return peer.home(first, { signal })
}

async function sessions({ typed }: Wanted, { connect, signal }: Means, before: string): Promise<Candidate[]> {
  const held = await (await connect()).sessions({ signal })
  const byName = typed !== '' && !/^\d+$/.test(typed)
  return held.map(({ id, name, state, location }) =>
    byName
      ? { value: `${before}${name}`, about: `session ${id}  ${state}  ${location}` }
      : { value: String(id), about: `session ${name}  ${state}  ${location}` },
  )
}

/** Of a daemon that is up, else what lies in its home: names are wanted most for the line that will start it. */
async function peers({ connect, home, signal }: Means): Promise<Candidate[]> {
  try {
    const known = await (await connect()).peers({ signal })
    return known.map(({ name, connected }) => ({ value: name, about: connected ? 'peer, connected' : 'peer' }))
  } catch (error) {
    if (codeOf(error) !== 'PEER_UNREACHABLE') return []
    return (await knownPeers(home)).map(({ name }) => ({ value: name, about: 'peer' }))
  }
}

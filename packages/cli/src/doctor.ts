// What may be wrong with this machine's peer, each thing looked at by itself: a check finds, says and advises; it changes
// nothing, but for a file that it writes and removes to see whether that goes, and starts nothing.
import { randomUUID } from 'node:crypto'
import { open, readFile, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  codeOf,
  connectLocal,
  knownPeers,
  lockFile,
  lockHolder,
  socketOf,
  type LocalPeer,
  type PeerInfo,
  type PeerStatus,
  type PingAnswer,
} from '@errand/runtime/client'
import { listenOn, readConfig, type Config } from './config.ts'
import { logOf } from './local-peer.ts'
import { versionOf } from './version.ts'

/** One thing that was looked at. `hint`: what to do about it. */
export interface Finding {
  readonly check: string
  readonly status: 'ok' | 'warn' | 'FAIL'
  readonly message: string
  readonly hint: string | null
}

/** How long this machine's daemon, and then each peer, may take to answer, in milliseconds. */
const ANSWER_MS = 3000
/** How often a daemon that has the home and does not answer is looked at again, in milliseconds. */
const LOOK_MS = 100
/** Clocks that differ by more are worth a word, by much more are wrong, in milliseconds. */
const OFF_WARN_MS = 2_000
const OFF_FAIL_MS = 60_000
/** So little room on the disk is worth a word, in bytes. */
const ROOM = 64 * 1024 * 1024
/** How much of the end of the daemon's log is read, in bytes. */
const LOG_END = 64 * 1024

interface Case {
  readonly home: string
  readonly signal: AbortSignal
}

/** Looks at everything. Settles when each check has, at most a few seconds later; never rejects for what it finds. */
export async function examine({ home, signal }: Case): Promise<Finding[]> {
  const first = [node(), ...(await Promise.all([homeFolder(home), disk(home), key(home), book(home)]))]
  const settings = await settingsOf(home)
  const daemon = await daemonOf(home, signal)
  const known = await knownPeers(home).catch((): PeerInfo[] => [])
  try {
    const up = daemon.status
    const rest = [
      settings.finding,
      daemon.finding,
      ...(up ? [version(up)] : []),
      await store(home, settings.config, up, daemon.held),
      ...(await listening(settings.config, known, up)),
      ...(await peers(known, daemon.peer, signal)),
    ]
    return [...first, ...rest]
  } finally {
    // One that does not answer our questions would not answer our goodbye either.
    void daemon.peer?.close()
  }
}

function ok(check: string, message: string): Finding {
  return { check, status: 'ok', message, hint: null }
}
function warn(check: string, message: string, hint: string): Finding {
  return { check, status: 'warn', message, hint }
}
function fail(check: string, message: string, hint: string): Finding {
  return { check, status: 'FAIL', message, hint }
}
function textOf(error: unknown): string {
  return Error.isError(error) ? error.message : String(error)
}

// ── this machine ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** An older one never comes here: main.ts says so. */
function node(): Finding {
  return ok('node', `${process.version} (${process.execPath})`)
}

async function homeFolder(home: string): Promise<Finding> {
  try {
    const { mode, uid } = await stat(home)
    if (process.platform === 'win32') return ok('home', home)
    const me = process.getuid!()
    if (uid !== me)
      return fail(
        'home',
        `${home} belongs to another user (${uid})`,
        `chown it, or set ERRAND_HOME to a folder of yours`,
      )
    if ((mode & 0o077) !== 0)
      return fail('home', `${home} can be entered by others (mode ${octal(mode)})`, `chmod 700 ${home}`)
    return ok('home', home)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ok('home', `${home}: made when it is first needed`)
    return fail('home', `${home} cannot be looked at: ${textOf(error)}`, 'set ERRAND_HOME to a folder of yours')
  }
}

/** What a peer does all day: writes a file in its home, and looks at the time. */
async function disk(home: string): Promise<Finding> {
  const probe = join(home, `.doctor-${randomUUID()}`)
  try {
    await using file = await open(probe, 'wx', 0o600)
    await file.writeFile(Buffer.alloc(8192, 1))
    await file.sync()
    const { mtimeMs } = await file.stat()
    const off = mtimeMs - Date.now()
    if (Math.abs(off) > OFF_WARN_MS)
      return warn(
        'disk',
        `files in ${home} get times that are ${lasting(off)} ${off > 0 ? 'ahead of' : 'behind'} this clock`,
        'set the clock of this machine, or of the one that has the disk',
      )
    const { bavail, bsize } = await statfs(home)
    if (bavail * bsize < ROOM)
      return warn(
        'disk',
        `${Math.floor((bavail * bsize) / 1024 / 1024)} MiB are left on the disk of ${home}`,
        'free some, or remove jobs: `errand remove --finished`',
      )
    return ok('disk', `${home} can be written, ${Math.floor((bavail * bsize) / 1024 / 1024)} MiB are left`)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return ok('disk', 'nothing to write in yet')
    if (code === 'ENOSPC' || code === 'EDQUOT')
      return fail(
        'disk',
        `there is no room to write in ${home}`,
        'free some on its disk, or remove jobs; what waits goes on by itself',
      )
    return fail(
      'disk',
      `${home} cannot be written: ${textOf(error)}`,
      'make it writable, or set ERRAND_HOME to a folder that is',
    )
  } finally {
    await rm(probe, { force: true }).catch(() => undefined) // a disk that cannot be written, as was said
  }
}

async function key(home: string): Promise<Finding> {
  const file = join(home, 'key')
  try {
    const { mode, size } = await stat(file)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0)
      return fail(
        'key',
        `${file} can be read by others (mode ${octal(mode)}): whoever has it is this peer`,
        `chmod 600 ${file}; if somebody may have it, remove it and pair anew`,
      )
    if (size === 0) return fail('key', `${file} is empty`, 'remove it to get a new identity, and pair anew')
    return ok('key', `${file} is ours alone`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      return ok('key', 'none yet: made when there is another peer')
    return fail('key', `${file} cannot be looked at: ${textOf(error)}`, 'see who owns it')
  }
}

async function book(home: string): Promise<Finding> {
  try {
    const known = await knownPeers(home)
    return ok('book', known.length === 0 ? 'no peers' : `${known.length === 1 ? 'one peer' : `${known.length} peers`}`)
  } catch (error) {
    return fail('book', textOf(error), 'mend it, or move it away and pair anew')
  }
}

async function settingsOf(home: string): Promise<{ config: Config; finding: Finding }> {
  try {
    const config = await readConfig(home)
    return { config, finding: ok('settings', '`errand config` shows them') }
  } catch (error) {
    const hint = (error as { hint?: string }).hint ?? 'mend or remove it'
    return { config: {}, finding: fail('settings', textOf(error), hint) }
  }
}

// ── its daemon ────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Daemon {
  readonly finding: Finding
  readonly peer?: LocalPeer
  readonly status?: PeerStatus
  /** Some process has the home, and the store in it. */
  readonly held: boolean
}

async function daemonOf(home: string, signal: AbortSignal): Promise<Daemon> {
  const late = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)])
  for (;;) {
    const holder = await lockHolder(lockFile(home)).catch(() => undefined) // a home that cannot be read, as is said of it
    const held = holder?.alive === true
    let peer: LocalPeer | undefined
    try {
      peer = await inTime(connectLocal({ home, signal: late }), late)
      const status = await peer.status({ signal: late })
      return { finding: ok('daemon', `${status.name} is up, process ${status.pid}`), peer, status, held: true }
    } catch (error) {
      // Not waited for: one that stands still takes its time for that, too.
      void peer?.close()
      signal.throwIfAborted()
      if (codeOf(error) === 'DENIED') return { finding: fail('daemon', textOf(error), hintOf(error)), held }
      if (!held) return { finding: await absent(home, holder?.pid), held }
      // One that begins has its home before it answers, and one that leaves has it still.
      if (!late.aborted) await delay(LOOK_MS, undefined, { signal: late }).catch(() => undefined)
      if (!late.aborted) continue
      const what = `process ${holder.pid} has this home, and does not answer at ${socketOf(home)}`
      const hint = `is it stopped or stuck? see ${logOf(home)}; \`kill -KILL ${holder.pid}\` ends it, and the next command starts another`
      return { finding: fail('daemon', what, hint), held }
    }
  }
}

/** Nobody has the home. `left`: who had it last, and did not leave it. */
async function absent(home: string, left: number | undefined): Promise<Finding> {
  const hint = 'nothing to do: whoever starts the next one takes its place'
  // A crash of the whole machine may leave a lock that names nobody.
  const who = left === 0 ? 'somebody' : `process ${left}`
  if (left !== undefined) return warn('daemon', `not up; ${who} had this home and ended without leaving it`, hint)
  if (await exists(socketOf(home)))
    return warn('daemon', `not up; ${socketOf(home)} is a socket that nobody answers`, hint)
  return ok('daemon', 'not up: the first command that needs it starts it')
}

function version({ version: its, pid }: PeerStatus): Finding {
  const ours = versionOf()
  if (its === ours) return ok('version', ours)
  return warn(
    'version',
    `this is errand ${ours}, and process ${pid} is ${its}`,
    '`errand down`; the next command starts this one',
  )
}

/** The file itself where nobody has it open, else what its daemon had to say of it. */
async function store(home: string, config: Config, up: PeerStatus | undefined, held: boolean): Promise<Finding> {
  const file = config.store ?? join(home, 'errand.db')
  if (file === 'memory') return ok('store', 'in memory: jobs end with the peer')
  if (held) {
    const trouble = up && (await troubleOf(logOf(home), up.startedAt))
    if (trouble)
      return fail('store', trouble, 'free room, or make it writable; a damaged one is moved away while no peer is up')
    return ok('store', `${file} is in use`)
  }
  const { checkStore } = await import('@errand/runtime/sqlite')
  const failure = checkStore(file)
  if (failure) return fail('store', failure.message, failure.hint ?? 'move it away to begin with an empty one')
  return ok('store', file)
}

/** What the daemon's log says last of its store, since that daemon began. */
async function troubleOf(log: string, since: Date): Promise<string | undefined> {
  const text = await readFile(log, 'utf8').catch(() => '')
  for (const line of text.slice(-LOG_END).split('\n').toReversed()) {
    try {
      const { at, message, what } = JSON.parse(line) as { at?: string; message?: string; what?: string }
      if (message === 'store' && new Date(at ?? 0) >= since) return what
    } catch {
      // a stack, or the first line cut in two
    }
  }
  return undefined
}

async function listening(config: Config, known: readonly PeerInfo[], up: PeerStatus | undefined): Promise<Finding[]> {
  const guests = known.filter(({ grants }) => grants.length > 0)
  const at = up && up.addresses.length > 0 ? up.addresses : listenOn(config, false)
  if (guests.length === 0) return []
  if (at.some((address) => !/^\/(?:ip4\/127\.|ip6\/::1\/|unix\/)/.test(address))) return [ok('listen', plain(at))]
  const names = guests.map(({ name }) => name).join(', ')
  const hint = '`errand config set listen /ip4/0.0.0.0/tcp/0`, then `errand down` and `errand up`'
  return [warn('listen', `${names} may come here, but this peer listens on this machine only (${plain(at)})`, hint)]
}

// ── other peers ───────────────────────────────────────────────────────────────────────────────────────────────────────

async function peers(
  known: readonly PeerInfo[],
  local: LocalPeer | undefined,
  signal: AbortSignal,
): Promise<Finding[]> {
  if (known.length === 0) return []
  if (!local)
    return [warn('peers', 'not asked: no peer is up here that could ask them', '`errand up`, then `errand doctor`')]
  const asked = await Promise.all(
    known.map(async (peer) => {
      const late = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)])
      const answer = await inTime(local.ping(peer.name, { signal: late }), late).catch((error: unknown) => ({ error }))
      return { peer, answer }
    }),
  )
  signal.throwIfAborted()
  const answered = asked.flatMap(({ peer, answer }) => ('ms' in answer ? [{ name: peer.name, answer }] : []))
  return [
    ...asked.map(({ peer, answer }) => ('ms' in answer ? granted(peer.name, answer) : refused(peer, answer.error))),
    ...clocks(answered),
  ]
}

function granted(name: string, { ms, grants }: PingAnswer): Finding {
  const check = `peer ${name}`
  const runs = grants === undefined || grants.some((grant) => grant === 'admin' || grant.startsWith('run:'))
  if (runs)
    return ok(check, `answers in ${ms.toFixed(1)} ms${grants === undefined ? '' : `, grants us ${grants.join(',')}`}`)
  return fail(
    check,
    `lets us connect, and run nothing`,
    `its owner can allow it: \`errand peer allow\` there, --grant connect,run:script,run:command`,
  )
}

function refused({ name, grants }: PeerInfo, error: unknown): Finding {
  const check = `peer ${name}`
  if (codeOf(error) === 'DENIED') {
    // Who was invited comes to us; that we may go there was never said.
    if (grants.length > 0) return ok(check, 'may come here; we may not go there')
    return fail(
      check,
      `refuses us: ${textOf(error)}`,
      'its owner can allow it: `errand peer allow` there, or `errand invite` there and `errand join` here',
    )
  }
  const what = error instanceof DOMException ? `does not answer within ${ANSWER_MS / 1000} s` : textOf(error)
  const hint = 'is errand up there, and this its address? `errand status` there shows it; `errand peer list` here'
  // A laptop that comes when it likes is no fault.
  return grants.length > 0 ? warn(check, what, hint) : fail(check, what, hint)
}

/** Compared with those that answer: where all of several agree it is ours that is off. */
function clocks(answered: readonly { name: string; answer: PingAnswer }[]): Finding[] {
  const told = answered.flatMap(({ name, answer: { off, ms } }) => (off === undefined ? [] : [{ name, off, ms }]))
  const odd = told.filter(({ off, ms }) => Math.abs(off) - ms / 2 > OFF_WARN_MS)
  if (told.length === 0) return []
  if (odd.length === 0) return [ok('clock', `agrees with ${told.map(({ name }) => name).join(', ')}`)]
  const offs = odd.map(({ off }) => off)
  const alike = Math.max(...offs) - Math.min(...offs) <= 2 * OFF_WARN_MS
  if (odd.length === told.length && odd.length > 1 && alike) {
    const [off] = offs as [number]
    return [
      unlike(
        'clock',
        `this machine's clock is ${lasting(off)} ${off > 0 ? 'behind' : 'ahead of'} those of ${odd.map(({ name }) => name).join(', ')}`,
        off,
        'set it here, by NTP: `timedatectl set-ntp true`',
      ),
    ]
  }
  return odd.map(({ name, off }) =>
    unlike(
      'clock',
      `the clock of ${name} is ${lasting(off)} ${off > 0 ? 'ahead of' : 'behind'} ours`,
      off,
      'set the one that is wrong, by NTP: `timedatectl set-ntp true` there or here',
    ),
  )
}

function unlike(check: string, message: string, off: number, hint: string): Finding {
  return Math.abs(off) > OFF_FAIL_MS ? fail(check, message, hint) : warn(check, message, hint)
}

// ── words ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

function octal(mode: number): string {
  return (mode & 0o777).toString(8)
}

function plain(addresses: readonly string[]): string {
  return addresses.map((address) => address.replace(/\/p2p\/.*$/, '')).join(' ')
}

/** `2.5 s`, `5 min`, `3.2 h`: how long, whichever way. */
function lasting(ms: number): string {
  const seconds = Math.abs(ms) / 1000
  const round = (value: number): string => String(Math.round(value * 10) / 10)
  if (seconds < 60) return `${round(seconds)} s`
  if (seconds < 3600) return `${round(seconds / 60)} min`
  return seconds < 86_400 ? `${round(seconds / 3600)} h` : `${round(seconds / 86_400)} days`
}

function hintOf(error: unknown): string {
  return (error as { hint?: string }).hint ?? ''
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}

/** Giving up on a daemon that stands still takes it seconds to tidy up; nobody waits for that. */
async function inTime<T>(asked: Promise<T>, signal: AbortSignal): Promise<T> {
  const late = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true })
  })
  return Promise.race([asked, late])
}

// errand watch: jobs, sessions and peers on the whole screen, as they change.
import { setTimeout as delay } from 'node:timers/promises'
import {
  isFinished,
  type Job,
  type JobSnapshot,
  type LocalPeer,
  type PeerEvent,
  type PeerInfo,
  type SessionSnapshot,
} from '@errand/runtime/client'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import type { Flags } from '../flags.ts'
import { FullScreen, type Key } from '../full-screen.ts'
import { JobBoard } from '../job-board.ts'
import { streamJobs } from '../list-watch.ts'
import { hear, untilLeft } from '../live.ts'
import { filteredJobs, jobsOf, type Place } from '../places.ts'
import { jobId } from '../render/job.ts'
import { iso } from '../render/json.ts'
import { oneLine } from '../render/table.ts'
import {
  HELP,
  jobFacts,
  NARROW,
  outputLines,
  spent,
  toneOf,
  watchFrame,
  type Tone,
  type WatchRow,
  type WatchView,
} from '../render/watch.ts'
import { filterBeside, filterOf } from './list.ts'

/** Jobs that are held of one table: older ones are for `errand list`. */
const MOST = 500
/** Lines of output that are held of the job that is looked at, and records they begin with. */
const LINES = 500
const TAIL = 200
/** How often the screen is drawn at most, in ms. */
const REDRAW_MS = 50
/** How often it is drawn though nothing has changed: times go on. */
const TICK_MS = 1000

export default async function watch(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const filter = filterBeside(words, flags)
  const { terminal, json } = context
  if (json !== undefined || !terminal.readsOut || !terminal.types) return streamJobs(context, flags, filter, words)
  // Before the screen is taken: what keeps it from beginning is said where it stays to be read.
  await context.connect()
  const left = new AbortController()
  let exitCode: number = EXIT.done
  const code = await untilLeft(context, async (signal) => {
    const leave = (how: number): void => {
      exitCode = how
      left.abort(new Error('left'))
    }
    await new Watching(context, flags, words, leave).show(AbortSignal.any([signal, left.signal]))
  })
  return code === EXIT.done ? exitCode : code
}

type Tab = 'jobs' | 'sessions' | 'peers'
const TABS: readonly Tab[] = ['jobs', 'sessions', 'peers']

/** A job that is looked at: what it is, and the last lines it said. */
interface Looking {
  readonly key: string
  readonly place: Place
  snapshot: JobSnapshot
  output: string[]
  readonly over: AbortController
  readonly ended: Promise<unknown>
}

class Watching {
  readonly #context: Context
  readonly #flags: Flags
  readonly #words: readonly string[]
  readonly #leave: (exitCode: number) => void
  #board: JobBoard
  readonly #places = new Map<string | undefined, Place>()
  #sessions = new Map<string, SessionSnapshot>()
  #peers = new Map<string, PeerInfo>()
  #name = ''
  /** Why who is away is; `silent`: nobody else's table is heard. */
  #away = ''
  #silent = false
  #tab: Tab = 'jobs'
  readonly #selected = new Map<Tab, string>()
  #find = ''
  #mode: 'rows' | 'find' | 'help' = 'rows'
  #looking: Looking | undefined
  /** What is asked, and done when the answer is yes. */
  #asked: { readonly text: string; readonly yes: () => void } | undefined
  #said = ''
  #changed = Promise.withResolvers<void>()
  /** What keys have begun. */
  readonly #doing = new Set<Promise<unknown>>()
  #signal: AbortSignal = AbortSignal.abort()

  constructor(context: Context, flags: Flags, words: readonly string[], leave: (exitCode: number) => void) {
    this.#context = context
    this.#flags = flags
    this.#words = words
    this.#leave = leave
    this.#board = new JobBoard(filterOf(flags), MOST)
  }

  async show(signal: AbortSignal): Promise<void> {
    this.#signal = signal
    const over = new AbortController()
    using screen = new FullScreen(this.#context.terminal, {
      key: (key) => this.#onKey(key),
      resize: () => this.#change(),
    })
    const drawing = this.#draw(screen, AbortSignal.any([signal, over.signal]))
    try {
      await hear(
        this.#context,
        { at: this.#flags.at, own: true, say: (text) => (this.#said = text) },
        {
          places: (locations) => {
            this.#places.clear()
            this.#board.keep(locations)
          },
          begin: (place, peer) => this.#begin(place, peer),
          event: (place, event) => this.#take(place, event),
          away: (reasons, silent) => {
            this.#silent = silent
            this.#away = reasons.map(({ message }) => message).join('; ')
            this.#change()
          },
        },
        signal,
      )
    } finally {
      over.abort()
      await this.#stopLooking()
      await drawing
      await Promise.allSettled(this.#doing)
    }
  }

  #change(): void {
    this.#changed.resolve()
  }

  async #draw(screen: FullScreen, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      screen.draw(watchFrame(this.#view(screen.columns), screen, (tone, text) => this.#paint(tone, text)))
      this.#changed = Promise.withResolvers()
      await delay(REDRAW_MS, undefined, { signal }).catch(() => undefined) // aborted: over
      const tick = new AbortController()
      const next = delay(TICK_MS, undefined, { signal: AbortSignal.any([signal, tick.signal]) }).catch(() => undefined)
      await Promise.race([this.#changed.promise, next])
      tick.abort()
    }
  }

  #paint(tone: Tone, text: string): string {
    return this.#context.terminal.data(tone, text)
  }

  // ── what there is ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** Whether jobs of this place are shown; our own peer is also heard for its sessions and peers. */
  #isTable(place: Place, peer: LocalPeer): boolean {
    return this.#flags.at === undefined || place.location !== undefined || place.table !== peer
  }

  async #begin(place: Place, peer: LocalPeer): Promise<void> {
    const { signal } = this.#context
    this.#name = peer.name
    if (place.table === peer) {
      const [sessions, peers] = await Promise.all([peer.sessions({ signal }), peer.peers({ signal })])
      this.#sessions = new Map(sessions.map((session) => [session.instanceId, session]))
      this.#peers = new Map(peers.map((one) => [one.id, one]))
    }
    if (this.#isTable(place, peer)) {
      this.#places.set(place.location, place)
      const named = this.#words.length > 0
      const found = await (named
        ? jobsOf([place], this.#words, this.#context)
        : filteredJobs([place], this.#board.filter, this.#context))
      const jobs = found.map(({ job }) => job.snapshot)
      if (named) this.#board = new JobBoard({}, MOST, new Set(jobs.map(({ instanceId }) => instanceId)))
      this.#board.begin(place.location, jobs)
      const looking = this.#looking
      if (looking && looking.place.location === place.location) {
        await this.#stopLooking()
        this.#look(place, looking.key, looking.snapshot)
      }
    }
    this.#change()
  }

  #take(place: Place, event: PeerEvent): void {
    switch (event.kind) {
      case 'job':
        if (this.#places.get(place.location) !== place || !this.#board.take(place.location, event)) return
        break
      case 'session':
        if (event.hosted) return
        if (event.removed) this.#sessions.delete(event.session.instanceId)
        else this.#sessions.set(event.session.instanceId, event.session)
        break
      case 'peer':
        if (event.removed) this.#peers.delete(event.peer.id)
        else this.#peers.set(event.peer.id, event.peer)
        break
      default:
    }
    this.#change()
  }

  // ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────────

  #view(columns: number): WatchView {
    const tables = {
      jobs: this.#jobRows(columns),
      sessions: this.#sessionRows(columns),
      peers: this.#peerRows(columns),
    }
    const tabs = TABS.map((tab, index) => `${index + 1} ${tab} ${tables[tab].rows.length}`)
    const away = this.#away !== ''
    const shared = {
      tabs,
      tab: TABS.indexOf(this.#tab),
      right: away ? `${this.#away}; waiting for it` : this.#name,
      rightTone: away ? ('yellow' as const) : undefined,
      footer: this.#footer(),
    }
    if (this.#mode === 'help') return { ...shared, body: { kind: 'text', lines: HELP } }
    const { titles, rows } = tables[this.#tab]
    if (this.#looking) {
      const { snapshot, output, place } = this.#looking
      return { ...shared, body: { kind: 'job', facts: jobFacts(snapshot, place.location, new Date()), output } }
    }
    const selected = this.#index(rows)
    const empty = this.#find === '' ? `  no ${this.#tab}` : `  no ${this.#tab} with '${this.#find}'`
    return { ...shared, body: { kind: 'table', table: { titles, rows, selected, empty } } }
  }

  #footer(): string {
    if (this.#asked) return `${this.#asked.text} y/n`
    if (this.#mode === 'find') return `find: ${this.#find}_`
    if (this.#said !== '') return this.#said
    if (this.#mode === 'help') return 'any key goes back'
    // A narrow title has no room to say so.
    if (this.#silent) return `${this.#away}; waiting for it`
    if (this.#looking) return 'Escape back  s stop  r remove  q leave'
    const find = this.#find === '' ? '' : `'${this.#find}' (Escape: all)  `
    return this.#tab === 'jobs'
      ? `${find}q leave  ? help  Enter more  s stop  r remove  / find`
      : `${find}q leave  ? help  / find`
  }

  /** The row that keys act on: the one that was chosen, or the first where that is gone. */
  #index(rows: readonly WatchRow[]): number {
    const at = rows.findIndex(({ key }) => key === this.#selected.get(this.#tab))
    return Math.max(0, at)
  }

  /** The newest first: what is going on stands where one looks first. */
  #jobRows(columns: number): { titles: string[]; rows: WatchRow[] } {
    const several = this.#places.size > 1
    const narrow = columns < NARROW
    const titles = narrow ? ['ID', 'STATE', 'TIME', 'NAME'] : ['ID', 'NAME', 'STATE', 'TIME', 'LOCATION', 'COMMAND']
    const now = new Date()
    const rows = this.#board
      .rows()
      .toReversed()
      .map(({ job, at }): WatchRow => {
        const { name, state, location, command } = job
        const time = spent(job, now).padStart(6)
        const own = narrow
          ? [jobId(job), state, time, oneLine(name)]
          : [jobId(job), oneLine(name), state, time, location, oneLine(command)]
        const cells = several ? [at ?? '', ...own] : own
        const tone = toneOf(state)
        return {
          key: `${at ?? ''} ${job.instanceId}`,
          cells,
          toned: tone && { cell: cells.indexOf(state, several ? 2 : 1), tone },
        }
      })
    return { titles: several ? ['AT', ...titles] : titles, rows: this.#found(rows) }
  }

  #sessionRows(columns: number): { titles: string[]; rows: WatchRow[] } {
    const narrow = columns < NARROW
    const titles = narrow
      ? ['ID', 'STATE', 'NAME']
      : ['ID', 'NAME', 'STATE', 'AVAILABILITY', 'JOBS', 'LOCATION', 'EXPIRES']
    const rows = [...this.#sessions.values()]
      .toSorted((one, other) => other.id - one.id)
      .map((session): WatchRow => {
        const { id, name, state, availability, jobs, location, expiresAt, instanceId } = session
        const cells = narrow
          ? [String(id), state, oneLine(name)]
          : [String(id), oneLine(name), state, availability, String(jobs), location, iso(expiresAt) ?? '-']
        const tone = toneOf(state)
        return { key: instanceId, cells, toned: tone && { cell: narrow ? 1 : 2, tone } }
      })
    return { titles, rows: this.#found(rows) }
  }

  #peerRows(columns: number): { titles: string[]; rows: WatchRow[] } {
    const narrow = columns < NARROW
    const titles = narrow ? ['NAME', 'CONNECTED'] : ['NAME', 'CONNECTED', 'GRANTS', 'ID']
    const rows = [...this.#peers.values()]
      .toSorted((one, other) => one.name.localeCompare(other.name))
      .map(({ name, id, connected, grants }): WatchRow => {
        const is = connected ? 'yes' : 'no'
        const cells = narrow ? [name, is] : [name, is, grants.join(',') || '-', id]
        const tone = toneOf(is)
        return { key: id, cells, toned: tone && { cell: 1, tone } }
      })
    return { titles, rows: this.#found(rows) }
  }

  #found(rows: WatchRow[]): WatchRow[] {
    const text = this.#find.toLowerCase()
    return text === '' ? rows : rows.filter(({ cells }) => cells.some((cell) => cell.toLowerCase().includes(text)))
  }

  // ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  #onKey(key: Key): void {
    this.#said = ''
    if (key.ctrl && key.name === 'c') return this.#leave(EXIT.interrupted)
    if (this.#asked) this.#onAnswer(key)
    else if (this.#mode === 'find') this.#onFind(key)
    else if (this.#mode === 'help') this.#mode = 'rows'
    else if (!key.ctrl) this.#onCommand(key)
    this.#change()
  }

  #onAnswer({ name }: Key): void {
    const { yes } = this.#asked!
    this.#asked = undefined
    if (name === 'y') yes()
  }

  #onFind({ name, text }: Key): void {
    if (name === 'return' || name === 'enter') this.#mode = 'rows'
    else if (name === 'escape') {
      this.#mode = 'rows'
      this.#find = ''
    } else if (name === 'backspace') this.#find = this.#find.slice(0, -1)
    else this.#find += text
  }

  #onCommand({ name, text }: Key): void {
    const tab = TABS[Number(text) - 1]
    if (tab) return this.#show(tab)
    switch (text === '' ? name : text) {
      case 'q':
        return this.#leave(EXIT.done)
      case 'escape':
        return this.#back()
      case 'tab':
        return this.#show(TABS[(TABS.indexOf(this.#tab) + 1) % TABS.length]!)
      case '?':
        this.#mode = 'help'
        return
      case '/':
      case 'f':
        this.#mode = 'find'
        return this.#close()
      case 's':
        return this.#askStop()
      case 'r':
        return this.#askRemove()
      case 'return':
      case 'enter':
        return this.#open()
      case 'up':
      case 'k':
        return this.#move(-1)
      case 'down':
      case 'j':
        return this.#move(1)
      case 'pageup':
        return this.#move(-this.#page)
      case 'pagedown':
        return this.#move(this.#page)
      case 'home':
      case 'g':
        return this.#move(-Infinity)
      case 'end':
      case 'G':
        return this.#move(Infinity)
      default:
    }
  }

  get #page(): number {
    return Math.max(1, this.#context.terminal.size.rows - 4)
  }

  #show(tab: Tab): void {
    this.#close()
    this.#tab = tab
  }

  #back(): void {
    if (this.#looking) this.#close()
    else if (this.#find === '') this.#leave(EXIT.done)
    else this.#find = ''
  }

  #rows(): readonly WatchRow[] {
    const wide = Number.POSITIVE_INFINITY
    const tables = {
      jobs: () => this.#jobRows(wide),
      sessions: () => this.#sessionRows(wide),
      peers: () => this.#peerRows(wide),
    }
    return tables[this.#tab]().rows
  }

  #move(by: number): void {
    if (this.#looking) return
    const rows = this.#rows()
    const to = Math.min(rows.length - 1, Math.max(0, this.#index(rows) + by))
    if (rows[to]) this.#selected.set(this.#tab, rows[to].key)
  }

  /** The job that keys act on. */
  #chosen(): { key: string; place: Place; job: JobSnapshot } | undefined {
    if (this.#looking) return { key: this.#looking.key, place: this.#looking.place, job: this.#looking.snapshot }
    if (this.#tab !== 'jobs') return undefined
    const rows = this.#rows()
    const key = rows[this.#index(rows)]?.key
    const found = this.#board.rows().find(({ job, at }) => `${at ?? ''} ${job.instanceId}` === key)
    const place = found && this.#places.get(found.at)
    return found && place && key !== undefined ? { key, place, job: found.job } : undefined
  }

  #askStop(): void {
    const chosen = this.#chosen()
    if (!chosen) return
    const { job } = chosen
    const name = `job ${jobId(job)}`
    if (isFinished(job.state)) this.#said = `${name} is ${job.state}`
    else this.#asked = { text: `stop ${name} (${oneLine(job.name)})?`, yes: () => this.#stop(chosen.place, job, name) }
  }

  #stop(place: Place, job: JobSnapshot, name: string): void {
    this.#do(`stopping ${name}`, place, job, async (handle) => {
      const { state } = await handle.stop({ signal: this.#signal })
      return `${name} is ${state}`
    })
  }

  #askRemove(): void {
    const chosen = this.#chosen()
    if (!chosen) return
    const { job, place } = chosen
    const name = `job ${jobId(job)}`
    const remove = (): void =>
      this.#do(`removing ${name}`, place, job, async (handle) => {
        await handle.remove({ signal: this.#signal })
        if (this.#looking?.key === chosen.key) this.#close()
        return `${name} is removed`
      })
    if (!isFinished(job.state)) this.#said = `${name} is ${job.state}: stop it first (s)`
    else if (job.position !== undefined) this.#said = `${name} goes with its parent`
    else if (job.hasMoreData) this.#asked = { text: `${name} has output nobody received; remove it?`, yes: remove }
    else remove()
  }

  /** Keys wait for nothing: what becomes of it is said when it is known. */
  #do(doing: string, place: Place, job: JobSnapshot, act: (handle: Job) => Promise<string>): void {
    this.#said = `${doing}…`
    const done = (async () => {
      try {
        this.#said = await act(await place.table.job(job.instanceId, { signal: this.#signal }))
      } catch (error) {
        this.#said = (error as Error).message
      }
      this.#change()
    })()
    this.#doing.add(done)
    void done.finally(() => this.#doing.delete(done))
  }

  // ── one job ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  #open(): void {
    const chosen = this.#looking ? undefined : this.#chosen()
    if (chosen) this.#look(chosen.place, chosen.key, chosen.job)
  }

  #close(): void {
    const closing = this.#stopLooking()
    this.#doing.add(closing)
    void closing.finally(() => this.#doing.delete(closing))
  }

  async #stopLooking(): Promise<void> {
    const looking = this.#looking
    this.#looking = undefined
    looking?.over.abort()
    await looking?.ended
  }

  #look(place: Place, key: string, snapshot: JobSnapshot): void {
    const over = new AbortController()
    const signal = AbortSignal.any([this.#signal, over.signal])
    const started = Promise.withResolvers<Looking>()
    const ended = started.promise.then((looking) => this.#follow(looking, signal)).catch(() => undefined)
    this.#looking = { key, place, snapshot, output: [], over, ended }
    started.resolve(this.#looking)
  }

  /** Until it is looked at no more. When the peer goes, it begins anew with everything else. */
  async #follow(looking: Looking, signal: AbortSignal): Promise<void> {
    const job = await looking.place.table.job(looking.snapshot.instanceId, { signal })
    const facts = async (): Promise<void> => {
      for await (const snapshot of job.watch({ signal })) {
        looking.snapshot = snapshot
        this.#change()
      }
    }
    const output = async (): Promise<void> => {
      for await (const record of job.receive({ tail: TAIL, follow: true, signal })) {
        looking.output = [...looking.output, ...outputLines(record, job.children.length > 1)].slice(-LINES)
        this.#change()
      }
    }
    await Promise.allSettled([facts(), output()])
  }
}

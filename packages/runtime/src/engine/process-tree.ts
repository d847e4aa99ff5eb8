// A child process with all its descendants: started as one, ended as one.
//
// Three nets, because each has a hole: the process group (left by setsid), the tree of parent ids at the time (left by
// an orphan), and on Linux a mark in the environment that descendants inherit (left only by who erases it).
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { reaper } from './reaper.ts'

/** The environment variable that marks what belongs to a job. `launch` removes it. */
export const MARK = 'ERRAND_TREE'
/** How often, at first (then twice as seldom each time, up to the last), and how long we look until all are really gone. */
const LOOK_MS = [2, 4, 8, 10] as const
const LOOKS = 200
/** Of a process's flags: it is a thread of the system's own, and has no environment. */
const KERNEL_THREAD = 0x200000
/** So many looks one after the other that find nobody, though they may have missed one, are believed. */
const BLURRED_LOOKS = 3

export interface ProcessTree {
  readonly child: ChildProcess
  readonly pid: number
  /** Ends everything by force and settles when nothing is left. */
  end(): Promise<void>
  /** To the whole group, politely. */
  signal(name: NodeJS.Signals): void
  /** Everything stands still, and goes on. */
  suspend(): void
  resume(): void
}

/** Starts a program as the root of a tree of its own. The reaper ends the tree should this process die. */
export function spawnTree(file: string, args: readonly string[], options: SpawnOptions): ProcessTree {
  const mark = randomUUID()
  const child = spawn(file, args, {
    ...options,
    detached: true,
    env: { ...(options.env ?? process.env), [MARK]: mark },
  })
  const { pid } = child
  if (pid === undefined) return { child, pid: 0, end: async () => {}, signal() {}, suspend() {}, resume() {} }
  const release = reaper().watch(pid, mark)
  const root: Root = { child, pid, mark }
  let ended: Promise<void> | undefined
  return {
    child,
    pid,
    end: () => (ended ??= endTree(root).finally(release)),
    signal: (name) => void send(-pid, name),
    suspend: () => suspendTree(root),
    resume: () => sendAll(root, lookAround(), 'SIGCONT'),
  }
}

interface Root {
  readonly child: ChildProcess
  readonly pid: number
  readonly mark: string
}

/** Who forks does so while we look: until nobody is there who was not told. */
function suspendTree(root: Root): void {
  const told = new Set<number>()
  for (let look = 0; look < LOOKS; look++) {
    const members = sendAll(root, lookAround(), 'SIGSTOP', told)
    if (look > 0 && members.length === 0) return
    for (const member of members) told.add(member)
  }
}

/** To all of a tree but those who were told; returns to whom. */
function sendAll(root: Root, look: Look, signal: NodeJS.Signals, told?: ReadonlySet<number>): number[] {
  const members = membersOf(root, look).filter((member) => !told?.has(member))
  if (!isAnother(root, look)) send(-root.pid, signal)
  for (const member of members) send(member, signal)
  return members
}

async function endTree(root: Root): Promise<void> {
  let blurred = 0
  for (let count = 0; count < LOOKS; count++) {
    const look = await nextLook()
    const members = sendAll(root, look, 'SIGKILL')
    if (members.length > 0 || look.failed || groupExists(root.pid)) blurred = 0
    else if (!look.missed || ++blurred >= BLURRED_LOOKS) return
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS[count] ?? LOOK_MS.at(-1)))
  }
}

/** Of one process, as the system knows it. */
interface Seen {
  readonly parent: number
  readonly group: number
  /**
   * Of its environment as it was when it was first seen; empty where there is none, or it may not be looked at. Undefined:
   * that could not be told yet.
   */
  readonly mark: string | undefined
  /** With its number, what tells it from another that gets the number later: clock ticks since the system's start. */
  readonly born: string
  /** Dead, and only waits for its parent. */
  readonly dead: boolean
}

/** Where each sees only his own. */
const HIDDEN: Seen = { parent: 0, group: 0, mark: '', born: '', dead: false }

/** What one look found. */
interface Look {
  readonly seen: ReadonlyMap<number, Seen>
  /**
   * Somebody went before he was looked at, and nobody knows whose he was: whom he started is in no list that was made
   * before.
   */
  readonly missed: boolean
  /** There was nothing to look with: no file can be opened. */
  readonly failed: boolean
}

let known: ReadonlyMap<number, Seen> = new Map()
let looking: Promise<Look> | undefined

/**
 * One look in a turn of its own, for all that ask before it: each takes milliseconds. What a script said last goes to its
 * readers first.
 */
function nextLook(): Promise<Look> {
  return (looking ??= new Promise((resolve) => {
    setImmediate(() => {
      looking = undefined
      resolve(lookAround())
    })
  }))
}

/** Every process. Never throws: who ends a tree has nobody to tell. */
function lookAround(): Look {
  const seen = new Map<number, Seen>()
  let missed = false
  if (process.platform !== 'linux') return { seen, missed, failed: false }
  try {
    for (const name of readdirSync('/proc')) {
      const id = Number(name)
      if (!Number.isInteger(id) || id === process.pid) continue
      const before = known.get(id)
      const one = seenOf(id, before)
      if (one) seen.set(id, one)
      const isNews = one === undefined || one.dead !== before?.dead
      if (isNews && (one ?? before)?.mark === undefined) missed = true
    }
  } catch {
    return { seen: new Map(), missed, failed: true }
  }
  known = seen
  return { seen, missed, failed: false }
}

/** Undefined: it has gone. @throws Error when no file can be opened */
function seenOf(id: number, before: Seen | undefined): Seen | undefined {
  let stat: string
  try {
    stat = readFileSync(`/proc/${id}/stat`, 'latin1')
  } catch (error) {
    if (isRefused(error)) return HIDDEN
    if (isGone(error)) return undefined
    throw error
  }
  // Fields after the command's closing parenthesis: state, ppid, pgrp; the 9th of all is flags, the 22nd starttime
  // (proc_pid_stat(5)).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state, parent, group] = fields
  const born = fields[19]!
  const dead = state === 'Z' || state === 'X'
  // What it was given does not change, and asking costs most of the look, above all where it is refused. Ours are never
  // seen between fork and exec, with what we were given ourselves: `spawn` comes back when the program is there.
  const mark = before?.born === born ? before.mark : undefined
  const isSystem = (Number(fields[6]) & KERNEL_THREAD) !== 0
  const told = mark ?? (isSystem ? '' : dead ? undefined : markOf(id))
  return { parent: Number(parent), group: Number(group), mark: told, born, dead }
}

function markOf(id: number): string | undefined {
  try {
    const environment = readFileSync(`/proc/${id}/environ`, 'latin1')
    // In the middle of an exec, and at its end, it has none.
    if (environment === '') return undefined
    const entry = environment.split('\0').find((one) => one.startsWith(`${MARK}=`))
    return entry?.slice(MARK.length + 1) ?? ''
  } catch (error) {
    return isRefused(error) ? '' : undefined
  }
}

/** What is not ours to look at. */
function isRefused(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EACCES' || code === 'EPERM'
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ESRCH'
}

/** All of a tree that are alive. */
function membersOf(root: Root, look: Look): number[] {
  const { pid, mark } = root
  const { seen } = look
  const hasGroup = !isAnother(root, look)
  const members = new Set<number>()
  for (const [id, one] of seen) {
    if (!one.dead && (one.mark === mark || (hasGroup && (id === pid || one.group === pid)))) members.add(id)
  }
  for (let grew = true; grew;) {
    grew = false
    for (const [id, { parent, dead }] of seen) {
      if (!dead && members.has(parent) && !members.has(id)) grew = members.add(id) !== undefined
    }
  }
  return [...members]
}

/** The root was waited for, and its number given to another: then that is not its group either. */
function isAnother({ child, pid, mark }: Root, { seen }: Look): boolean {
  if (child.exitCode === null && child.signalCode === null) return false
  const one = seen.get(pid)
  return one !== undefined && one.mark !== mark
}

function groupExists(pid: number): boolean {
  if (process.platform === 'linux') return false // the dead keep a group alive; membersOf has looked
  return send(-pid, 0)
}

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false // gone, or never a group
  }
}

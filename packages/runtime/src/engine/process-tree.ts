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
  let ended: Promise<void> | undefined
  return {
    child,
    pid,
    end: () => (ended ??= endTree(pid, mark).finally(release)),
    signal: (name) => void send(-pid, name),
    suspend: () => suspendTree(pid, mark),
    resume: () => sendAll(pid, membersOf(pid, mark), 'SIGCONT'),
  }
}

/** Who forks does so while we look: until nobody is there who was not told. */
function suspendTree(pid: number, mark: string): void {
  const told = new Set<number>()
  for (let look = 0; look < LOOKS; look++) {
    const members = membersOf(pid, mark).filter((member) => !told.has(member))
    if (look > 0 && members.length === 0) return
    sendAll(pid, members, 'SIGSTOP')
    for (const member of members) told.add(member)
  }
}

function sendAll(pid: number, members: readonly number[], signal: NodeJS.Signals): void {
  send(-pid, signal)
  for (const member of members) send(member, signal)
}

async function endTree(pid: number, mark: string): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    const members = membersOf(pid, mark, await nextLook())
    send(-pid, 'SIGKILL')
    for (const member of members) send(member, 'SIGKILL')
    if (members.length === 0 && !groupExists(pid)) return
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS[look] ?? LOOK_MS.at(-1)))
  }
}

/** Of one process, as the system knows it. */
interface Seen {
  readonly parent: number
  readonly group: number
  /** Of its environment as it was when it was first seen; empty where it has none, or may not be looked at. */
  readonly mark: string
  /** With its number, what tells it from another that gets the number later: clock ticks since the system's start. */
  readonly born: string
}

let known: ReadonlyMap<number, Seen> = new Map()
let looking: Promise<ReadonlyMap<number, Seen>> | undefined

/**
 * One look in a turn of its own, for all that ask before it: each takes milliseconds. What a script said last goes to its
 * readers first.
 */
function nextLook(): Promise<ReadonlyMap<number, Seen>> {
  return (looking ??= new Promise((resolve) => {
    setImmediate(() => {
      looking = undefined
      resolve(lookAround())
    })
  }))
}

/** Every live process but zombies, which are dead and only wait for their parent. */
function lookAround(): ReadonlyMap<number, Seen> {
  if (process.platform !== 'linux') return known
  const seen = new Map<number, Seen>()
  for (const name of readdirSync('/proc')) {
    const id = Number(name)
    if (!Number.isInteger(id) || id === process.pid) continue
    try {
      const stat = readFileSync(`/proc/${id}/stat`, 'latin1')
      // Fields after the command's closing parenthesis: state, ppid, pgrp; the 22nd of all is starttime (proc_pid_stat(5)).
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      const [state, parent, group] = fields
      if (state === 'Z' || state === 'X') continue
      const born = fields[19]!
      const before = known.get(id)
      // What it was given does not change, and asking costs most of the look, above all where it is refused. Ours are never
      // seen between fork and exec, with what we were given ourselves: `spawn` comes back when the program is there.
      const mark = before?.born === born ? before.mark : markOf(id)
      seen.set(id, { parent: Number(parent), group: Number(group), mark, born })
    } catch {
      // It ended while we looked.
    }
  }
  known = seen
  return seen
}

function markOf(id: number): string {
  try {
    const environment = readFileSync(`/proc/${id}/environ`, 'latin1').split('\0')
    return environment.find((entry) => entry.startsWith(`${MARK}=`))?.slice(MARK.length + 1) ?? ''
  } catch {
    return '' // not ours to read
  }
}

function membersOf(pid: number, mark: string, seen = lookAround()): number[] {
  const members = new Set<number>()
  for (const [id, one] of seen) if (id === pid || one.group === pid || one.mark === mark) members.add(id)
  for (let grew = true; grew;) {
    grew = false
    for (const [id, { parent }] of seen) {
      if (members.has(parent) && !members.has(id)) grew = members.add(id) !== undefined
    }
  }
  return [...members]
}

function groupExists(pid: number): boolean {
  if (process.platform === 'linux') return false // zombies keep a group alive; membersOf has looked
  return send(-pid, 0)
}

function send(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal)
  } catch {
    return false // gone, or never a group
  }
}

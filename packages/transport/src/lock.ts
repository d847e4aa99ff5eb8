// One live process per key and per home.
//
// A lock is a file that names its holder: process id, the moment that process began (a pid alone is given out again),
// and a nonce. It comes into being by link(2) of a finished file, so it is never seen half written, and only one of
// several racers gets it. A process that was killed leaves its file behind; taking that over is the hard part: between
// reading "the holder is dead" and removing the file, another process may have done both, and the file removed would be
// its fresh one. So whoever wants to replace the lock with nonce N must first hold the lock `<path>.<N>` — a lock like
// any other, which only one process can hold — and then look again: only if N still stands there is it replaced, by
// rename, so that there is no moment without a lock file.
//
// Good among processes that see each other's pids: one machine, one pid namespace.

import { randomUUID } from 'node:crypto'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { KeyInUseError } from './errors.ts'

/** Held until released, or until this process is gone. */
export interface Lock extends AsyncDisposable {
  readonly path: string
  /** Removes the file. Idempotent. */
  release(): Promise<void>
}

interface Holder {
  readonly pid: number
  /** When the process began, where the system tells: Linux's boot id and clock ticks since boot. Elsewhere ''. */
  readonly began: string
  readonly nonce: string
}

/**
 * Takes the lock at `path`, whose directory must exist. Does not wait.
 * @throws KeyInUseError when a live process holds it, also when that is this one
 */
export function holdLock(path: string): Promise<Lock> {
  return hold(path, path)
}

/** Whose lock it is, and whether that process lives; undefined where nobody has it. `pid` is 0 where the file does not say. */
export async function lockHolder(path: string): Promise<{ pid: number; alive: boolean } | undefined> {
  const holder = await read(path)
  return holder && { pid: holder.pid, alive: await isAlive(holder) }
}

/** `named` is what an error speaks of: of the lock wanted, also while it is the right to replace it that is taken. */
async function hold(path: string, named: string): Promise<Lock> {
  const mine: Holder = { pid: process.pid, began: (await begun(process.pid)) ?? '', nonce: randomUUID() }
  const draft = `${path}.${process.pid}.${mine.nonce}`
  await writeFile(draft, JSON.stringify(mine), { mode: 0o600, flag: 'wx' })
  try {
    await take(path, draft, named)
  } finally {
    await rm(draft, { force: true })
  }
  let released: Promise<void> | undefined
  const release = (): Promise<void> => (released ??= remove(path, mine.nonce))
  return { path, release, [Symbol.asyncDispose]: release }
}

async function take(path: string, draft: string, named: string): Promise<void> {
  for (;;) {
    try {
      await link(draft, path)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = await read(path)
    if (holder === undefined) continue // released in between
    if (await isAlive(holder)) {
      throw new KeyInUseError(`${named} is held by process ${holder.pid}`, {
        hint: `stop process ${holder.pid}, or use another home`,
      })
    }
    // Its holder is dead. At most one process at a time gets past this line for this very lock; one that dies here
    // leaves a stale lock of its own, which is taken over in the same way.
    await using _ = await hold(`${path}.${holder.nonce}`, named)
    if ((await read(path))?.nonce === holder.nonce) {
      await rename(draft, path)
      return
    }
  }
}

/** Ours, so no one else may judge it stale and replace it: reading and removing need not be one step. */
async function remove(path: string, nonce: string): Promise<void> {
  if ((await read(path))?.nonce === nonce) await rm(path, { force: true })
}

/** Who holds the lock; a file that is not a lock belongs to nobody alive. */
async function read(path: string): Promise<Holder | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  try {
    const { pid, began, nonce } = JSON.parse(text) as Partial<Holder>
    if (Number.isSafeInteger(pid) && pid! > 0 && typeof began === 'string' && /^[\w-]{1,64}$/.test(String(nonce))) {
      return { pid: pid!, began, nonce: nonce! }
    }
  } catch {
    // not JSON: a crash of the whole machine may leave an empty file
  }
  return { pid: 0, began: '', nonce: 'unreadable' }
}

async function isAlive(holder: Holder): Promise<boolean> {
  if (holder.pid === 0) return false
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // EPERM: there is such a process, of another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  const began = await begun(holder.pid)
  return began === undefined || holder.began === '' || began === holder.began
}

/** When a process began; undefined where the system does not tell. A zombie is as good as gone. */
async function begun(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') return undefined
  try {
    const [stat, boot] = await Promise.all([
      readFile(`/proc/${pid}/stat`, 'utf8'),
      readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    ])
    // proc(5): the name, field 2, may hold blanks and brackets; state is field 3, starttime field 22.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? 'ended' : `${boot.trim()}:${fields[19]}`
  } catch {
    return undefined
  }
}

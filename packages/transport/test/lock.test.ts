import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { holdLock, lockHolder } from '../src/lock.ts'
import { failing } from './suites/transport.suite.ts'

const holder = fileURLToPath(new URL('./fixtures/lock-holder.ts', import.meta.url))

async function lockPath(): Promise<{ path: string; directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'errand-lock-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return { path: join(directory, 'lock'), directory }
}

/** A process that tries for the lock, and what became of it. */
async function rival(path: string): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [holder, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [said] = (await once(createInterface(child.stdout!), 'line')) as [string]
  return { child, said }
}

describe('a lock', () => {
  test('is held by one, here too, and free again once released', async () => {
    const { path, directory } = await lockPath()
    const lock = await holdLock(path)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    await expect(holdLock(path)).rejects.toEqual(failing('KEY_IN_USE'))
    await lock.release()
    await lock.release()
    expect(await readdir(directory)).toEqual([])
    {
      await using again = await holdLock(path)
      expect(again.path).toBe(path)
    }
    expect(await readdir(directory)).toEqual([])
  })

  test('tells who holds it, and whether that process lives, to who only looks', async () => {
    const { path, directory } = await lockPath()
    expect(await lockHolder(path)).toBeUndefined()
    const { child } = await rival(path)
    expect(await lockHolder(path)).toEqual({ pid: child.pid, alive: true })
    child.kill('SIGKILL')
    await once(child, 'close')
    expect(await lockHolder(path)).toEqual({ pid: child.pid, alive: false })
    await writeFile(path, 'no lock')
    expect(await lockHolder(path)).toEqual({ pid: 0, alive: false })
    expect(await readdir(directory)).toEqual(['lock'])
  })

  test('names the process that holds it, and the file', async () => {
    const { path } = await lockPath()
    const { child, said } = await rival(path)
    expect(said).toBe('held')
    const error = await holdLock(path).catch((reason: Error) => reason)
    expect(error).toEqual(failing('KEY_IN_USE'))
    expect((error as Error).message).toContain(`${child.pid}`)
    expect((error as Error).message).toContain(path)
    child.stdin!.end()
    await once(child, 'exit')
    await (await holdLock(path)).release()
  })

  test('of a killed process is taken over', async () => {
    const { path, directory } = await lockPath()
    const { child } = await rival(path)
    child.kill('SIGKILL')
    await once(child, 'exit')
    await (await holdLock(path)).release()
    expect(await readdir(directory)).toEqual([])
  })

  test('whose process id has been given to another process is taken over', async () => {
    const { path } = await lockPath()
    await writeFile(path, JSON.stringify({ pid: process.pid, began: 'another boot:1', nonce: 'old' }))
    if (process.platform === 'linux') await (await holdLock(path)).release()
  })

  test('file that is no lock any more (empty after a power cut) is taken over', async () => {
    const { path } = await lockPath()
    for (const rubbish of ['', '{}', 'null', JSON.stringify({ pid: 1, began: '', nonce: '../x' })]) {
      await writeFile(path, rubbish)
      await (await holdLock(path)).release()
    }
  })

  test('left by the dead is taken over by exactly one of many, time and again', async () => {
    const { path, directory } = await lockPath()
    for (let round = 0; round < 20; round++) {
      await writeFile(path, JSON.stringify({ pid: 2 ** 30, began: '', nonce: `dead-${round}` }))
      const tries = await Promise.allSettled(Array.from({ length: 12 }, () => holdLock(path)))
      const won = tries.filter((it) => it.status === 'fulfilled')
      expect(won).toHaveLength(1)
      for (const it of tries) if (it.status === 'rejected') expect(it.reason).toEqual(failing('KEY_IN_USE'))
      await won[0]!.value.release()
    }
    expect(await readdir(directory)).toEqual([])
  })

  test('is taken over by one of several processes, also where the right to take over was left by the dead', async () => {
    const { path } = await lockPath()
    const dead = (nonce: string): string => JSON.stringify({ pid: 2 ** 30, began: '', nonce })
    await writeFile(path, dead('first'))
    await writeFile(`${path}.first`, dead('second'))
    await writeFile(`${path}.first.second`, dead('third'))
    const rivals = await Promise.all(Array.from({ length: 4 }, () => rival(path)))
    expect(rivals.map(({ said }) => said).toSorted()).toEqual(['KEY_IN_USE', 'KEY_IN_USE', 'KEY_IN_USE', 'held'])
    const { pid } = JSON.parse(await readFile(path, 'utf8')) as { pid: number }
    expect(pid).toBe(rivals.find(({ said }) => said === 'held')!.child.pid)
  })
})

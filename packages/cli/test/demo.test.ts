// What `errand demo` leaves behind when it does not come to its end: nothing. (That it does is a step of CI's own.)
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
let folder: string

beforeEach(() => (folder = realpathSync(mkdtempSync(join(tmpdir(), 'errand-test-demo-')))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function start(...flags: string[]): ChildProcess {
  return spawn(process.execPath, ['--conditions=source', main, 'demo', ...flags], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
}

/** What it prints, until that is in it. */
async function until(child: ChildProcess, part: string): Promise<void> {
  let text = ''
  for await (const piece of child.stdout!.iterator({ destroyOnReturn: false })) {
    text += String(piece)
    if (text.includes(part)) return
  }
  throw new Error(`it ended without '${part}': ${text}`)
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', resolve))
}

/** Processes that know the folder. */
function left(): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return []
    try {
      const said = ['environ', 'cmdline'].map((file) => readFileSync(`/proc/${pid}/${file}`, 'utf8')).join('\0')
      return said.includes(folder) ? [said] : []
    } catch {
      return []
    }
  })
}

test.skipIf(process.platform !== 'linux')(
  'Ctrl-C in the middle ends all peers, removes the folder, and exits with 130',
  async () => {
    const child = start()
    const exit = ended(child)
    let words = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (words += text))
    await until(child, 'Three kinds of jobs')
    expect(left().length).toBeGreaterThan(3) // it, and three peers
    child.stdout!.resume()
    child.kill('SIGINT')
    expect(await exit).toBe(130)
    expect(words).toBe('ending the demo, and what it has started\n')
    expect(readdirSync(folder)).toEqual([])
    expect(left()).toEqual([])
  },
  60_000,
)

test.skipIf(process.platform !== 'linux')(
  'a reader that leaves ends it, with 0 and without a word',
  async () => {
    const child = start()
    const exit = ended(child)
    let words = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (words += text))
    await until(child, 'peer id')
    child.stdout!.destroy()
    expect(await exit).toBe(0)
    expect(words).toBe('')
    expect(readdirSync(folder)).toEqual([])
    expect(left()).toEqual([])
  },
  60_000,
)

test.skipIf(process.platform !== 'linux')(
  'out of time it says so with 124, and leaves nothing',
  async () => {
    const child = start('--timeout', '3s', '--json')
    const exit = ended(child)
    let words = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (words += text))
    child.stdout!.resume()
    expect(await exit).toBe(124)
    expect(JSON.parse(words)).toMatchObject({ error: { code: 'TIMEOUT' } })
    expect(readdirSync(folder)).toEqual([])
    expect(left()).toEqual([])
  },
  60_000,
)

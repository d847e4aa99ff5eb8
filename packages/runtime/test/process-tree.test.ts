// Nothing of a process outlives it that should not: the tree when it is ended, and after the death of its owner.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { spawnTree } from '../src/engine/process-tree.ts'

const linux = process.platform === 'linux'

/** Processes whose environment holds this text. */
function marked(mark: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return []
    try {
      const state = readFileSync(`/proc/${name}/stat`, 'latin1').replace(/^.*\) /, '')[0]
      return state !== 'Z' && readFileSync(`/proc/${name}/environ`, 'latin1').includes(mark) ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe.skipIf(!linux)('a process tree (needs /proc)', () => {
  it('ends with its grandchildren, also those that left its group', async () => {
    const mark = `ERRAND_TEST=${crypto.randomUUID()}`
    const script = '(setsid sleep 300 &) ; sleep 300 & sleep 300'
    const [key, value] = mark.split('=') as [string, string]
    const tree = spawnTree('sh', ['-c', script], { env: { ...process.env, [key]: value }, stdio: 'ignore' })
    await until(() => marked(mark).length >= 4)
    await tree.end()
    expect(marked(mark)).toEqual([])
  })

  it('ends after its owner was killed: the reaper sees to it', async () => {
    const mark = `ERRAND_TEST=${crypto.randomUUID()}`
    const [key, value] = mark.split('=') as [string, string]
    const program = `
      const { spawnTree } = await import(${JSON.stringify(fileURLToPath(new URL('../src/engine/process-tree.ts', import.meta.url)))})
      spawnTree('sh', ['-c', '(setsid sleep 300 &) ; sleep 300'], { stdio: 'ignore' })
      console.log('started')
      setInterval(() => {}, 1000)`
    const owner = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      env: { ...process.env, [key]: value },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(owner.stdout, 'data')
    // owner, reaper, sh, two sleeps
    await until(() => marked(mark).length >= 5)
    owner.kill('SIGKILL')
    await until(() => marked(mark).length === 0)
    expect(marked(mark)).toEqual([])
  })
})

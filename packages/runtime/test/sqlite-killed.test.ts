// A process that writes is killed, again and again, at any instant: what it was promised is there, whole and in order.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { nextChunk } from './support/chunks.ts'
import { readAll, storeFolder } from './support/store-files.ts'

const WRITER = fileURLToPath(new URL('fixtures/store-writer.ts', import.meta.url))
const KILLS = Number(process.env['ERRAND_STORE_KILLS'] ?? 12)

const place = storeFolder()

test(
  `killed ${KILLS} times in the middle of writing, it has all that was accepted or put, and nothing half`,
  {
    timeout: 30_000 + KILLS * 5_000,
  },
  async () => {
    const promised = new Map<string, number>()
    const checked = new Map<string, number>()
    for (let kill = 0; kill < KILLS; kill++) {
      // Sooner or later, by what it says and not by the clock: the first promise, or one of the next hundreds.
      await writeUntilKilled(kill % 4 === 0 ? 1 : (kill * 97) % 600, promised)
      await using store = place.open()
      await store.rows.all('job')
      expect(place.troubles()).toEqual([])
      for (const name of ['a', 'b', 'c']) {
        const log = await store.log(name)
        expect(log.end).toBeGreaterThanOrEqual(promised.get(name) ?? 0)
        let next = checked.get(name) ?? 0
        for (const chunk of await readAll(log, next, 100_000)) {
          expect(chunk).toEqual(nextChunk(next))
          next += chunk.count
        }
        // No hole, and no gap: nothing was lost.
        expect(next).toBe(log.end)
        checked.set(name, next)
      }
      const rows = new Map((await store.rows.all('job')).map(({ key, value }) => [key, value as number]))
      expect(rows.get('row') ?? 0).toBeGreaterThanOrEqual(promised.get('row') ?? 0)
      expect(rows.get('twin')).toBe(rows.get('row'))
      expect(place.troubles()).toEqual([])
    }
    expect(Math.min(...['a', 'b', 'c', 'row'].map((name) => promised.get(name) ?? 0))).toBeGreaterThan(0)
  },
)

async function writeUntilKilled(promises: number, promised: Map<string, number>): Promise<void> {
  const child = spawn(process.execPath, ['--conditions=source', WRITER, place.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exited = once(child, 'exit')
  let said = 0
  for await (const line of createInterface({ input: child.stdout })) {
    const [name, number] = line.split(' ')
    // The last one may have been cut in the middle of its number.
    if (number) promised.set(name!, Math.max(promised.get(name!) ?? 0, Number(number)))
    if (++said === promises + 1) child.kill('SIGKILL')
  }
  const [code, signal] = (await exited) as [number | null, string | null]
  expect([code, signal]).toEqual([null, 'SIGKILL'])
}

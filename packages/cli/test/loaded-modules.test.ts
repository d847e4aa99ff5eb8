// What a command loads before it does anything: what makes it slow to answer must not be among it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from './support/machines.ts'

const MACHINES = fileURLToPath(new URL('../../runtime/test/fixtures/machines.ts', import.meta.url))
const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url))
let folder: string
let env: NodeJS.ProcessEnv
let hook: string

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'errand-loaded-'))
  env = { ...process.env, ERRAND_HOME: join(folder, 'home') }
  hook = join(folder, 'hook.mjs')
  writeFileSync(
    hook,
    `import { appendFileSync } from 'node:fs'
     import { registerHooks } from 'node:module'
     registerHooks({ load(url, context, next) {
       appendFileSync(process.env.LOADED, url + '\\n')
       return next(url, context)
     } })`,
  )
  expect(await errand([], 'up', '--offer', MACHINES)).toBe(0)
}, 60_000)
afterAll(async () => {
  await errand([], 'down', '--force')
  rmSync(folder, { recursive: true, force: true })
})

async function errand(before: readonly string[], ...words: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, ['--conditions=source', ...before, MAIN, ...words], { env, stdio: 'ignore' })
  const [code] = await once(child, 'exit')
  return code as number
}

/** What is loaded for a command line, as URLs; node's own modules too. */
async function loadedFor(words: readonly string[]): Promise<string[]> {
  const file = join(folder, 'loaded')
  writeFileSync(file, '')
  env['LOADED'] = file
  expect(await errand(['--import', hook], ...words)).toBe(0)
  return readFileSync(file, 'utf8').split('\n')
}

test.each([
  [['--help'], { client: false }],
  [['help', 'start'], { client: true }],
  [['list'], { client: true }],
  [['status'], { client: true }],
  // Nor where it speaks to a machine.
  [['spawn', 'counter', '--name', 'one'], { client: true }],
  [['inspect', 'one'], { client: true }],
  [['send', 'one', 'pause'], { client: true }],
  [['ask', 'one', 'total'], { client: true }],
  [['spawn', 'counter', '--register', 'called'], { client: true }],
  [['ask', 'called', 'total'], { client: true }],
  [['events', 'one'], { client: true }],
])('%j loads neither libp2p nor XState', async (words, { client }) => {
  const loaded = await loadedFor(words)
  expect(loaded.some((url) => url.endsWith('/cli/src/app.ts'))).toBe(true)
  expect(loaded.some((url) => url.endsWith('/runtime/src/client.ts'))).toBe(client)
  expect(loaded.filter((url) => /libp2p|xstate|comlink|sqlite/i.test(url))).toEqual([])
})

test('a daemon that listens loads both: they would be seen', async () => {
  const file = join(folder, 'loaded')
  writeFileSync(file, '')
  env['LOADED'] = file
  const words = ['up', '--foreground', '--home', join(folder, 'other'), '--listen', '/ip4/127.0.0.1/tcp/0']
  const before = ['--conditions=source', '--import', hook, MAIN]
  const child = spawn(process.execPath, [...before, ...words], { env, stdio: 'ignore' })
  const exit = once(child, 'exit')
  await until(() => ['/libp2p/', '/xstate/'].every((name) => readFileSync(file, 'utf8').includes(name)))
  child.kill()
  await exit
})

// `errand run` as a person sees it, in a real terminal.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Screen, errand, hasTmux } from './support/screen.ts'

describe.skipIf(!hasTmux)('errand run in a terminal (needs tmux)', () => {
  let home: string
  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'errand-run-'))
  })
  afterAll(async () => {
    await using down = await Screen.open(errand('down', '--force', '--home', home))
    await down.exited()
    rmSync(home, { recursive: true, force: true })
  })

  test('Ctrl-C once stops the job and says so', async () => {
    await using screen = await Screen.open(errand('--home', home, 'run', '-e', 'yield "begun"; await sleep(600_000)'))
    await screen.until('begun')
    await screen.key('C-c')
    expect(await screen.exited()).toBe(130)
    expect(await screen.text()).toMatch(/^begun\n\^?C?errand: stopping job \d+, again to kill/)
  })

  test('Ctrl-C twice kills what does not stop', async () => {
    const stubborn = ['--', 'sh', '-c', 'trap "" INT TERM; echo begun; while :; do sleep 0.1; done']
    await using screen = await Screen.open(errand('--home', home, 'run', ...stubborn))
    await screen.until('begun')
    await screen.key('C-c')
    await screen.until('again to kill')
    await screen.key('C-c')
    expect(await screen.exited()).toBe(130)
    expect(await screen.text()).toContain('errand: killing job')
  })
})

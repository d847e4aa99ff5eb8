// The program in the package's README, as it stands there.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

test('the first program of the README runs, prints what it received, and ends', async () => {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const page = readFileSync(`${root}README.md`, 'utf8')
  const program = /```ts\n(.*?)```/s.exec(page)![1]!
  const flags = ['--conditions=source', '--input-type=module-typescript', '-e', program]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, flags, { cwd: root })
  expect(stderr).toBe('')
  expect(stdout).toMatch(/at: \d{4}-\d\d-\d\dT/)
  expect(stdout).toContain('big: 1180591620717411303424n')
  expect(stdout).toContain("seen: Set(1) { 'a' }")
  expect(stdout).toContain('RangeError: no')
  expect(stdout).toContain('[cause]: 1')
})

// What the engine has compiled of the codec stays compiled: V8 throws away all that reads or writes bytes when the first
// memory of an isolate is given away, unless that was before.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { bundle } from '../../../scripts/bundle.ts'
import { placeOf } from '../../../scripts/test-program.ts'

const run = promisify(execFile)

/** The functions whose code was thrown away for that in a run of this program. */
async function thrownAway(...program: string[]): Promise<string[]> {
  const { stdout } = await run(process.execPath, ['--trace-deopt', ...program], { maxBuffer: 64 * 1024 * 1024 })
  const lines = stdout.split('\n').filter((line) => line.includes('dependent property cell changed'))
  return lines.map((line) => /SharedFunctionInfo ([^>]+)/.exec(line)?.[1] ?? line)
}

test('nothing of the codec is compiled again when the first memory is given away', async () => {
  // As isolates have it: bundled, with nothing in it that they do not need. (What strips types gives memory away, too.)
  const source = new URL('./fixtures/codec-work.ts', import.meta.url)
  const { folder, name } = placeOf(source)
  await bundle(folder, [fileURLToPath(source)], { whole: true })
  expect(await thrownAway(join(folder, `${name}.js`))).toEqual([])
  // Where it is not seen to, it is seen.
  const unprepared = `
    const bytes = new Uint8Array(100)
    function sumOf() {
      let sum = 0
      for (let at = 0; at < bytes.length; at++) sum += bytes[at]
      return sum
    }
    for (let n = 0; n < 100_000; n++) sumOf()
    new ArrayBuffer(1).transfer(0)`
  expect(await thrownAway('--eval', unprepared)).toContain('sumOf')
})

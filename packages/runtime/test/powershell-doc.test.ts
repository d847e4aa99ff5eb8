// The table of PowerShell's cases in docs/POWERSHELL.md against the tests: every case has one, and what differs on purpose
// says so on both sides.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const NUMBERS = String.raw`[SP]\d+(?:,? [SP]\d+)*`

interface Row {
  readonly numbers: readonly string[]
  readonly about: string
  readonly here: string
}

const page = readFileSync(join(root, 'docs/POWERSHELL.md'), 'utf8')
const section = /^## The cases$([^]*?)^## /m.exec(page)?.[1] ?? ''
const rows: Row[] = [...section.matchAll(new RegExp(String.raw`^\| (${NUMBERS}) \| (.+?) \| (.+) \|$`, 'gm'))].map(
  ([, numbers, about, here]) => ({ numbers: numbers!.split(/,? /), about: about!, here: here! }),
)

/** Titles that begin with numbers of cases, wherever they stand: a table of cases is not always on the line of its test. */
const titles: { readonly numbers: readonly string[]; readonly text: string }[] = readdirSync(join(root, 'packages'))
  .flatMap((name) => {
    const folder = join(root, 'packages', name, 'test')
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.test.ts'))
      .map((file) => readFileSync(join(folder, file), 'utf8'))
  })
  .flatMap((text) => [...text.matchAll(new RegExp(`['"\`](${NUMBERS})['"\` ,](.*)`, 'g'))])
  .map(([, numbers, text]) => ({ numbers: numbers!.split(/,? /), text: text! }))

const differs = (text: string): boolean => /\bdiffers\b/.test(text)

/** What differs on purpose at least; more may. */
const ON_PURPOSE = 'S7 P1 P21 P22 P26 P27 P28 P29 P30 P31 P32 P38 P39 P85 P135'.split(' ')

test('there is a table, every case in it once', () => {
  const numbers = rows.flatMap((row) => row.numbers)
  expect(numbers.length).toBeGreaterThan(150)
  expect(numbers.filter((number, index) => numbers.indexOf(number) !== index)).toEqual([])
  // S cases tell one story: none is left out.
  const story = numbers.filter((number) => number.startsWith('S'))
  expect(new Set(story)).toEqual(new Set(Array.from({ length: 63 }, (_, i) => `S${i + 1}`)))
})

test('every case has a test that begins with its number', () => {
  const tested = new Set(titles.flatMap(({ numbers }) => numbers))
  expect(rows.flatMap(({ numbers }) => numbers).filter((number) => !tested.has(number))).toEqual([])
})

test('every number a test begins with is in the table', () => {
  const known = new Set(rows.flatMap(({ numbers }) => numbers))
  expect(titles.flatMap(({ numbers }) => numbers).filter((number) => !known.has(number))).toEqual([])
})

test('what differs says so in the table, with the reason, and in the title of a test', () => {
  const said = rows.filter(({ here }) => differs(here))
  for (const { numbers, here } of said) {
    expect(here.length, numbers.join(' ')).toBeGreaterThan('differs: because'.length)
    for (const number of numbers) {
      const own = titles.filter((title) => title.numbers.includes(number))
      expect(
        own.some(({ text }) => differs(text)),
        number,
      ).toBe(true)
    }
  }
  const listed = new Set(said.flatMap(({ numbers }) => numbers))
  expect(ON_PURPOSE.filter((number) => !listed.has(number))).toEqual([])
  for (const title of titles.filter(({ text }) => differs(text))) {
    expect(
      title.numbers.some((number) => listed.has(number)),
      `${title.numbers.join(' ')} ${title.text}`,
    ).toBe(true)
  }
})

test('exit codes differ, and the page says how', () => {
  expect(page).toContain('**An exit code other than 0 fails a command.**')
})

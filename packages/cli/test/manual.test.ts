// docs/CLI.md against the tables it is made from, and what the tables show as examples against the parser.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { CLI_PAGE, cliPage } from '../../../scripts/write-docs.ts'
import { flagSpecs } from '../src/flags.ts'
import { COMMANDS } from '../src/grammar.ts'
import { errand } from './harness.ts'

const visible = COMMANDS.filter(({ hidden }) => !hidden)

test('docs/CLI.md is what the tables make it (else: npm run docs)', async () => {
  expect(readFileSync(CLI_PAGE, 'utf8')).toBe(await cliPage())
})

test('every command has its section, with its words, each of its flags and each of its examples', async () => {
  const page = await cliPage()
  for (const { path, usage, flags, examples = [] } of visible) {
    const section = new RegExp(`^### errand ${path}\\n([^]*?)(?=^##)`, 'm').exec(page)?.[1] ?? ''
    expect(section, path).toContain(`errand ${path}`)
    expect(section, path).toContain(usage)
    for (const { flags: spelled, hidden } of flagSpecs(flags).slice(0, flags.length)) {
      if (hidden) expect(section, path).not.toContain(spelled)
      else expect(section, path).toContain(`| \`${spelled}\` |`)
    }
    for (const example of examples) expect(section, path).toContain(example.split(/ {3,}/)[0])
  }
})

test.each(visible.flatMap(({ path, examples = [] }) => examples.map((line) => [path, line])))(
  'an example of errand %s is understood: %s',
  async (_path, line) => {
    const commands = line
      .split(/ {3,}/)[0]!
      .split(' | ')
      .filter((one) => one.startsWith('errand '))
    expect(commands.length).toBeGreaterThan(0)
    for (const command of commands) {
      const words = [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
        (match) => match[1] ?? match[2] ?? match[3]!,
      )
      // Asked for help, a line is read to its last flag, and nothing is done.
      const { code, err } = await errand(['-h', ...words.slice(1)])
      expect({ command, code, err }).toEqual({ command, code: 0, err: '' })
    }
  },
)

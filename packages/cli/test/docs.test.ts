// The pages in docs/ and at the root against the code: every command line in them is one that errand understands, every
// cmdlet has its section, and what they point to is there.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { CMDLETS } from '../src/cmdlets.ts'
import { errand } from './harness.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const PAGES = [
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
  'CONTRIBUTING.md',
  'SECURITY.md',
  'CHANGELOG.md',
]
const SOURCES = ['transport', 'runtime', 'cli'].map((name) => join('packages', name, 'src'))

function read(page: string): string {
  return readFileSync(join(root, page), 'utf8')
}

function prose(page: string): string {
  return read(page).replaceAll(/^```[^]*?^```/gm, '')
}

/** Inline code, outside of fences. */
function spans(page: string): string[] {
  return [...prose(page).matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!.replaceAll(String.raw`\|`, '|'))
}

/** Words as a shell would make them of a line without variables. */
function shellWords(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!)
}

/** The heading's name in a link, as Markdown viewers make it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-')
}

/** All of a page: of headings that are called the same the second has `-1` behind it. */
function anchorsOf(text: string): Set<string> {
  const seen = new Map<string, number>()
  const anchors = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => {
    const anchor = anchorOf(heading!)
    const before = seen.get(anchor) ?? 0
    seen.set(anchor, before + 1)
    return before === 0 ? anchor : `${anchor}-${before}`
  })
  return new Set(anchors)
}

describe.each(PAGES)('%s', (page) => {
  test('has only command lines that errand understands', async () => {
    const lines = spans(page)
      .flatMap((span) => span.split(' | '))
      .filter((line) => line.startsWith('errand '))
    for (const line of lines) {
      // Asked for help, a line is read to its last flag, and nothing is done.
      const { code, err } = await errand(['-h', ...shellWords(line).slice(1)])
      expect({ line, code, err }).toEqual({ line, code: 0, err: '' })
    }
  })

  test('points only to files and headings that are there', () => {
    for (const [, target] of prose(page).matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
      const [path = '', anchor] = target!.split('#')
      const file = path === '' ? join(root, page) : resolve(root, dirname(page), path)
      expect(existsSync(file), `${page} → ${target}`).toBe(true)
      if (anchor === undefined) continue
      expect(anchorsOf(readFileSync(file, 'utf8')), `${page} → ${target}`).toContain(anchor)
    }
  })

  test('names only source files that are there', () => {
    for (const span of spans(page)) {
      if (!/^[\w/-]+\.ts$/.test(span)) continue
      const places = [
        ...SOURCES,
        'packages',
        'packages/cli',
        '.',
        'packages/transport/test/suites',
        'packages/runtime/test',
      ]
      expect(
        places.some((place) => existsSync(join(root, place, span))),
        `${page}: ${span}`,
      ).toBe(true)
    }
  })
})

test('POWERSHELL.md has a section for every cmdlet that errand understands', () => {
  const headings = [...read('docs/POWERSHELL.md').matchAll(/^### (.+)$/gm)].map((match) => match[1])
  for (const { name } of CMDLETS) expect(headings).toContain(name)
})

test('POWERSHELL.md has a section for everything that about_Remote_Jobs refers to', () => {
  const headings = [...read('docs/POWERSHELL.md').matchAll(/^### (.+)$/gm)].map((match) => match[1])
  const seeAlso =
    'about_Jobs about_Job_Details about_Remote about_Remote_Variables about_Thread_Jobs about_PSSessions Invoke-Command ' +
    'Start-Job Get-Job Wait-Job Receive-Job Stop-Job Remove-Job New-PSSession Enter-PSSession Exit-PSSession Start-Process'
  for (const name of seeAlso.split(' ')) expect(headings).toContain(name)
})

test('ARCHITECTURE.md says where every source file is', () => {
  const listing = /What is where:\n+```([^]*?)```/.exec(read('docs/ARCHITECTURE.md'))?.[1] ?? ''
  const spelledOut = listing.replaceAll(/([\w-]+)\{([\w,]+)\}/g, (_, stem: string, ends: string) =>
    ends
      .split(',')
      .map((end) => stem + end)
      .join(' '),
  )
  const named = new Set(spelledOut.match(/[\w-]+(?:\.d)?/g))
  for (const source of SOURCES) {
    for (const file of readdirSync(join(root, source), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts') || /^(?:commands|render)\b/.test(file)) continue
      expect(named, join(source, file)).toContain(basename(file, '.ts'))
    }
  }
})

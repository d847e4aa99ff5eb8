import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { looksLikeFile, scan, splitVerb, splitWork } from '../src/argv.ts'
import { SHAPES } from '../src/flags.ts'
import { GROUPS } from '../src/grammar.ts'

const verb = (...argv: string[]) => splitVerb(argv, SHAPES, (word) => GROUPS.has(word))

describe('splitVerb', () => {
  it('finds the verb behind global options, whose values are not verbs', () => {
    expect(verb('--at', 'server01', 'start', '-e', '1')).toEqual({
      verb: 'start',
      subverb: undefined,
      before: ['--at', 'server01'],
      after: ['-e', '1'],
    })
    expect(verb('--home=/x', '-q', 'list', '-s', 'Running').verb).toBe('list')
  })
  it('takes two words of a group, with options between them', () => {
    expect(verb('session', '--home', '/x', 'list', '3')).toEqual({
      verb: 'session',
      subverb: 'list',
      before: ['--home', '/x'],
      after: ['3'],
    })
  })
  it('does not take the word after --json for its fields', () => {
    expect(verb('--json', 'list', '3')).toMatchObject({ verb: 'list', before: ['--json='], after: ['3'] })
  })
  it('says when there is no verb', () => {
    expect(verb('--version')).toMatchObject({ verb: undefined, before: ['--version'] })
  })
})

describe('splitWork', () => {
  const work = (...tokens: string[]) => splitWork(tokens, SHAPES)
  it('leaves everything from the command on to the command', () => {
    expect(work('--on', 'server01', 'ls', '-la', '--on', 'x')).toEqual({
      options: ['--on', 'server01'],
      words: ['ls', '-la', '--on', 'x'],
      dashed: false,
    })
  })
  it('keeps a -- that belongs to the command', () => {
    expect(work('npm', 'run', '--', '-x').words).toEqual(['npm', 'run', '--', '-x'])
  })
  it('takes what follows -- for a command, whatever it looks like', () => {
    expect(work('-n', 'x', '--', 'build.ts', '--keep')).toEqual({
      options: ['-n', 'x'],
      words: ['build.ts', '--keep'],
      dashed: true,
    })
  })
  it('reads our options behind a file', () => {
    expect(work('build.ts#main', '--on', 'a', '-n', 'x')).toEqual({
      options: ['--on', 'a', '-n', 'x'],
      words: ['build.ts#main'],
      dashed: false,
    })
  })
  it('takes a value that begins with a dash', () => {
    expect(work('-e', '-1')).toEqual({ options: ['-e', '-1'], words: [], dashed: false })
  })
})

describe('scan', () => {
  it('knows which short flag of a cluster takes the next word', () => {
    expect(scan(['-kn', 'web', '3'], SHAPES)).toMatchObject({ options: ['-kn', 'web'], words: ['3'] })
    expect(scan(['-knweb', '3'], SHAPES)).toMatchObject({ options: ['-knweb'], words: ['3'] })
    expect(scan(['-kf', '3'], SHAPES)).toMatchObject({ options: ['-kf'], words: ['3'] })
  })
  it('takes - for a word', () => {
    expect(scan(['-', '-k'], SHAPES)).toMatchObject({ options: ['-k'], words: ['-'] })
  })
  it('loses and doubles nothing', () => {
    const token = fc.oneof(fc.constantFrom('--on', '-n', '-k', '--follow', '--at=x', '-', '--'), fc.string())
    fc.assert(
      fc.property(fc.array(token), (tokens) => {
        const { options, words, rest } = scan(tokens, SHAPES)
        const seen = [
          ...options.map((option) => (option === '--json=' ? '--json' : option)),
          ...words,
          ...(rest ? ['--', ...rest] : []),
        ]
        expect(seen.toSorted()).toEqual(tokens.toSorted())
      }),
    )
  })
})

describe('looksLikeFile', () => {
  it.each(['a.ts', './a.mts', 'a.js#main', 'x/y.mjs#$1', 'a.cts', 'a.tsx'])('%s', (word) =>
    expect(looksLikeFile(word)).toBe(true),
  )
  it.each(['ls', 'node', 'a.ts#', 'a.tsv', 'ts', 'a.ts#b-c', 'make.tss'])('not %s', (word) =>
    expect(looksLikeFile(word)).toBe(false),
  )
})

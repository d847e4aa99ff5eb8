import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { importSpecifiers } from '../src/import-specifiers.ts'
import { moduleText, readModule } from '../src/module-text.ts'

const found = (source: string): string =>
  importSpecifiers(source)
    .map(({ specifier, dynamic }) => (dynamic ? `~${specifier}` : specifier))
    .join(' ')

describe('importSpecifiers', () => {
  it.each([
    ["import 'a'; import b from \"b\"; import { c as d, 'x y' as e } from 'c'", 'a b c'],
    ["import * as f from 'f' with { type: 'json' }\nimport g, { h } from 'g'", 'f g'],
    ["export { z } from 'z'; export * from 'star'; export * as n from 'ns'", 'z star ns'],
    ["await import('./x'); import('y', { with: {} })", '~./x ~y'],
    ["import('\\x2e/a'); import '\\u{2e}/b'", '~./a ./b'],
    ["#!/usr/bin/env node\nimport 'a'", 'a'],
    ["import/* x */'a'\nimport{b}from'b'", 'a b'],
    ["import defer from 'd'\nimport from from 'e'", 'd e'],
  ])('%s', (source, specifiers) => expect(found(source)).toBe(specifiers))

  it.each([
    "// import 'a'\n/* import 'b' */",
    "const s = 'import \"a\"', t = `import 'b' ${ `${{ a: 1 }.a}` } import 'c'`",
    "const r = /import 'a'/; if (x) /['\"]/.test(y) // '",
    "foo.import('a'); const o = { import: 'b' }",
    "export { a, b }; export default function () { return /'/ } const from = 'a'",
    "const { from } = { from: 'a' }; export const c = 'd'",
    'import.meta.url; import(`x${1}`); import(x)',
    "let q = a / b / 'c'; q = (1) / 2 / 'import'; const w = { a: 1 } / 2 / 'x'",
    "x = y\n/ 2 / 'import'\nfunction f() {}\n/['`]/.test('')",
  ])('finds none in %s', (source) => expect(found(source)).toBe(''))

  it('comes back from text that is no JavaScript', () => {
    for (const text of ["'", '`${', '/', '/[', '{{{(', "import '", '\\', '}}}', '`${`${']) {
      expect(() => importSpecifiers(text)).not.toThrow()
    }
  })
})

describe('moduleText', () => {
  it('strips types and keeps places', () => {
    const source =
      "import type { X } from './x.ts'\nimport { sep } from 'node:path'\nexport default (n: number): string => sep + n\n"
    const text = moduleText(source, 'a.ts')
    expect(text).not.toMatch(/: number|\.\/x/)
    expect(text).toHaveLength(source.length)
  })
  it('does not announce to the user that stripping is experimental', () => {
    const heard: unknown[] = []
    const hear = (warning: Error): void => void heard.push(warning.message)
    process.on('warning', hear)
    moduleText('let a: 1 = 1', 'a.ts')
    return new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
      process.off('warning', hear)
      expect(heard).toEqual([])
    })
  })
  it.each([
    ["import './lib.ts'", 'a.js', /imports '\.\/lib\.ts': .*travels alone/],
    ["import { type X } from './types.ts'", 'a.ts', /\.\/types\.ts/],
    ["export * from '/abs.js'", 'a.js', /travels alone/],
    ["await import('../b.js')", 'a.js', /travels alone/],
    ["import 'lodash'", 'a.js', /packages are not sent/],
    ["import fs from 'fs'", 'a.js', /imports 'fs'/],
    ['enum A { B }', 'a.ts', /a\.ts cannot be read as TypeScript/],
    ['let = = 1', 'a.ts', /a\.ts cannot be read as TypeScript/],
  ])('refuses %s in %s', (source, path, why) => {
    expect(() => moduleText(source, path)).toThrow(
      expect.objectContaining({ code: 'SCRIPT', message: expect.stringMatching(why) }),
    )
  })
  it('says what to write instead of a bare built-in, and instead of an enum', () => {
    expect(() => moduleText("import 'fs'", 'a.js')).toThrow(expect.objectContaining({ hint: "write 'node:fs'" }))
    expect(() => moduleText('enum A { B }', 'a.ts')).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('no enum') }),
    )
  })
})

describe('readModule', () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'errand-'))
    await writeFile(join(folder, 'a.ts'), 'export const main = (): number => 1')
    await writeFile(join(folder, 'b#x.ts'), 'export default () => 2')
    await writeFile(join(folder, 'c.cts'), '')
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('takes the export behind #', async () => {
    expect(await readModule('a.ts#main', folder)).toEqual({
      module: 'export const main = ()         => 1',
      export: 'main',
      file: 'a.ts#main',
    })
    expect(await readModule('a.ts', folder)).not.toHaveProperty('export')
  })
  it('leaves a # that is part of the name', async () => {
    expect(await readModule('b#x.ts', folder)).toEqual({ module: 'export default () => 2', file: 'b#x.ts' })
  })
  it('says which file there is not, and what cannot be a module', async () => {
    await expect(readModule('nope.ts', folder)).rejects.toMatchObject({
      code: 'USAGE',
      message: 'there is no file nope.ts',
    })
    await expect(readModule('c.cts', folder)).rejects.toMatchObject({ code: 'SCRIPT' })
  })
})

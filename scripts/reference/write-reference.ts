// npm run docs: docs/api, a page for each entry of @errand/runtime and @errand/transport, from their docstrings.
// Fails where a public export has none, where one speaks of a type that is not exported, or points to what is not there.
// With `--check` nothing is written: it fails where a page is not what it would be.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { Application, Converter, ReflectionKind, type DeclarationReflection, type ProjectReflection } from 'typedoc'

const root = join(import.meta.dirname, '../..')
const pages = join(root, 'docs/api')

interface Entry {
  /** As it is imported. */
  readonly specifier: string
  readonly source: string
  /** Of its page, without its ending. */
  readonly page: string
  /** What it is about: the comment its file begins with. */
  readonly about: string
}

/** All entries; those that others export again come first: there a thing is described, elsewhere it is named. */
function entries(): Entry[] {
  return ['transport', 'runtime'].flatMap((name) => {
    const folder = join(root, 'packages', name)
    const { exports } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
      exports: Record<string, string | { source: string }>
    }
    return Object.entries(exports).flatMap(([entry, target]) => {
      if (typeof target === 'string') return []
      const source = join(folder, target.source)
      const [head = ''] = /^(?:\/\/.*\n)+/.exec(readFileSync(source, 'utf8')) ?? []
      const about = head
        .split('\n//\n', 1)[0]!
        .replaceAll(/^\/\/ ?/gm, '')
        .trim()
      return [{ specifier: `@errand/${name}${entry.slice(1)}`, source, page: `${name}${entry.slice(1)}`, about }]
    })
  })
}

/** Writes all pages into `folder`. Resolves to how many complaints there were; they have been printed. */
async function write(folder: string): Promise<number> {
  const all = entries()
  const app = await Application.bootstrapWithPlugins({
    plugin: ['typedoc-plugin-markdown'],
    entryPoints: all.map(({ source }) => source),
    tsconfig: join(import.meta.dirname, 'tsconfig.json'),
    readme: 'none',
    logLevel: 'Warn',
    disableSources: true,
    excludePrivate: true,
    excludeProtected: true,
    excludeInternal: true,
    sort: ['source-order'],
    sortEntryPoints: false,
    groupOrder: ['Functions', 'Interfaces', 'Type Aliases', 'Variables', 'Classes', 'References'],
    packagesRequiringDocumentation: ['@errand/transport', '@errand/runtime'],
    // What a property is its name says, or its comment; all else must have one.
    requiredToBeDocumented: ['Variable', 'Function', 'Class', 'Interface', 'TypeAlias', 'Method', 'Accessor'],
    validation: { notExported: true, invalidLink: true, notDocumented: true },
  })
  const layout = {
    router: 'module',
    hidePageHeader: true,
    hideBreadcrumbs: true,
    useCodeBlocks: true,
    expandObjects: true,
    parametersFormat: 'list',
  }
  // The plugin's own options: unknown to typedoc's types.
  for (const [option, value] of Object.entries(layout)) app.options.setValue(option as never, value as never)
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? []) module.name = all.find((one) => module.name === nameOf(one))!.page
    prune(project)
  })
  const project = await app.convert()
  if (project === undefined) throw new Error('the sources do not compile')
  // Only of the project's own package is a type missed that is not exported: of each in turn.
  for (const name of ['@errand/transport', '@errand/runtime']) {
    project.packageName = name
    app.validate(project)
  }
  app.options.setValue('out', folder)
  await app.generateOutputs(project)
  for (const { page, specifier, about } of all) {
    const file = join(folder, `${page}.md`)
    const body = readFileSync(file, 'utf8')
      .replace(/^# .*\n/, '')
      .replaceAll(/^### (\w+Error)\n/gm, (heading, name: string) => `${heading}${codeLine(name)}`)
      .replaceAll(/\n{3,}/g, '\n\n')
      .trim()
    writeFileSync(file, `# ${specifier}\n\n${about}\n\n${contents(body)}\n\n${body}\n`)
  }
  const list = all.map(
    ({ specifier, page, about }) => `- [\`${specifier}\`](${page}.md) — ${about.replaceAll('\n', ' ')}`,
  )
  writeFileSync(
    join(folder, 'README.md'),
    `# The TypeScript API\n\nMade from the docstrings by \`npm run docs\`; do not edit. Durations are milliseconds or text such as \`30s\`; errors\nare compared by \`code\`; whatever has \`Symbol.asyncDispose\` is closed by whoever made it (\`await using\`).\n\n${list.join('\n')}\n`,
  )
  return app.logger.errorCount + app.logger.warningCount
}

/** What a page has, by what it is: a line for each group. */
function contents(body: string): string {
  const groups = body.split(/^## /m).slice(1)
  return groups
    .map((group) => {
      const [title = ''] = group.split('\n', 1)
      const names = [...group.matchAll(/^### (.+)$/gm)].map(([, name = '']) => name)
      return `**${title}**: ${names.map((name) => `[${name}](#${name.toLowerCase().replaceAll(/[^\w-]/g, '')})`).join(' · ')}`
    })
    .join('\n\n')
}

/** The code of a class of errors, which is what they are compared by: no type says it. */
function codeLine(name: string): string {
  codes ??= new Map(
    ['transport', 'runtime'].flatMap((one) => {
      const text = readFileSync(join(root, 'packages', one, 'src/errors.ts'), 'utf8')
      return [...text.matchAll(/class (\w+) extends ErrandError \{[^]*?super\(('[A-Z_]+')?/g)].map(
        ([, made = '', code]) => [made, code?.slice(1, -1)] as const,
      )
    }),
  )
  const code = codes.get(name)
  return code === undefined ? '' : `\n\`code\`: \`${code}\`\n`
}
let codes: Map<string, string | undefined> | undefined

/** The name typedoc gives an entry: its path under the packages. */
function nameOf({ source }: Entry): string {
  return relative(join(root, 'packages'), source).replace(/(?:\/index)?\.ts$/, '')
}

/** Said once, where it belongs: not what comes from what a thing extends, and not how an error of ours is made. */
function prune(project: ProjectReflection): void {
  const everything = project.getReflectionsByKind(ReflectionKind.ClassOrInterface | ReflectionKind.ClassMember)
  const types = project.getReflectionsByKind(ReflectionKind.ClassOrInterface | ReflectionKind.TypeAlias)
  const described = new Set(types.map(({ name }) => name))
  for (const one of everything as DeclarationReflection[]) {
    const made = one.kindOf(ReflectionKind.Constructor) && one.parent?.name.endsWith('Error')
    // What comes from something that has no page of its own is described here.
    const ours = project.getSymbolIdFromReflection(one)?.packageName.startsWith('@errand/') === true
    const from = one.inheritedFrom?.name.split('.', 1)[0] ?? ''
    const elsewhere = one.flags.isInherited && (described.has(from) || from === 'Omit' || !ours)
    if (elsewhere || made) project.removeReflection(one)
  }
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .toSorted()
}

const made = mkdtempSync(join(tmpdir(), 'errand-reference-'))
try {
  const complaints = await write(made)
  if (complaints > 0) throw new Error(`${complaints} complaints about the docstrings, see above`)
  if (process.argv.includes('--check')) {
    const stale = [...new Set([...filesIn(pages), ...filesIn(made)])].filter((name) => {
      const [is, shall] = [pages, made].map((folder) => {
        const file = join(folder, name)
        return filesIn(folder).includes(name) ? readFileSync(file, 'utf8') : undefined
      })
      return is !== shall
    })
    if (stale.length > 0) throw new Error(`stale in docs/api: ${stale.join(', ')}; \`npm run docs\` makes them anew`)
  } else {
    rmSync(pages, { recursive: true, force: true })
    for (const name of filesIn(made)) {
      mkdirSync(dirname(join(pages, name)), { recursive: true })
      writeFileSync(join(pages, name), readFileSync(join(made, name)))
    }
  }
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = 1
} finally {
  rmSync(made, { recursive: true, force: true })
}

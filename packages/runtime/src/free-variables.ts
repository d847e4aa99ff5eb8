// Explains, before anything is sent, why a name in a script's text would mean nothing where it runs.
import { FreeVariableError } from './errors.ts'
import { builtinNames } from './script-globals.ts'
import type { Reference } from './script-scope.ts'

type Reason = 'import' | 'helper' | 'coverage' | 'commonjs' | 'builtin' | 'plain'

interface FreeName {
  /** As its author wrote it, where that can be told. */
  name: string
  /** As it stands in the text. */
  written: string
  reason: Reason
  places: string[]
  assigned: boolean
  called: boolean
}

const commonjs = new Set(['require', 'module', 'exports', '__filename', '__dirname'])

// TypeScript's and esbuild's helpers start with two underscores; Babel's and swc's with one (camel and snake case).
const underscoreHelpers = new Set(
  (
    'asyncToGenerator asyncGeneratorDelegate asyncIterator awaitAsyncGenerator wrapAsyncGenerator callSuper classCallCheck ' +
    'classPrivateFieldGet classPrivateFieldInit classPrivateFieldSet classPrivateMethodGet classPrivateMethodInit ' +
    'createClass defineProperty extends inherits instanceof interopRequireDefault interopRequireWildcard objectSpread ' +
    'objectSpread2 objectSpreadProps objectWithoutProperties objectWithoutPropertiesLoose possibleConstructorReturn ' +
    'slicedToArray taggedTemplateLiteral toArray toConsumableArray toPropertyKey tsDecorate tsGenerator tsMetadata ' +
    'tsParam tsRewriteRelativeImportExtension typeOf typeof usingCtx using dispose checkPrivateRedeclaration assertThisInitialized getPrototypeOf setPrototypeOf'
  ).split(' '),
)

function isHelper({ name }: Reference): boolean {
  if (/^tslib(?:_\d+)?$|^_tslib$|^babelHelpers$|^_ts_\w+$/.test(name)) return true
  if (/^__[a-z][A-Za-z]*$/.test(name)) return true
  return (
    name.startsWith('_') &&
    underscoreHelpers.has(name.slice(1).replace(/\d+$|_(?=\d|$)|_([a-z])/g, (_, c?: string) => c?.toUpperCase() ?? ''))
  )
}

function classify(reference: Reference): { name: string; reason: Reason } {
  const { name, member, indirect } = reference
  // Vite and vitest: `__vite_ssr_import_0__.readFile`.
  if (/^__(?:vite_ssr|vi)_import_\d+__$/.test(name)) return { name: member ?? name, reason: 'import' }
  // esbuild: `import_promises.readFile`; TypeScript, Babel and swc: `(0, promises_1.readFile)(…)`, `fs_1.default`.
  if (member !== undefined && (indirect || /^import_\w/.test(name) || (member === 'default' && /\w_\d+$/.test(name)))) {
    return { name: member, reason: 'import' }
  }
  if (/^cov_[0-9a-z]+$|^__coverage__$|^stry(?:Cov|MutAct|NS)_/.test(name)) return { name, reason: 'coverage' }
  if (isHelper(reference)) return { name, reason: 'helper' }
  if (commonjs.has(name)) return { name, reason: 'commonjs' }
  if (builtinNames.has(name)) return { name, reason: 'builtin' }
  return { name, reason: 'plain' }
}

const join = (names: FreeName[]): string => names.map((one) => `\`${one.name}\``).join(', ')

/** Several names read as one sentence: "`a` is …", "`a`, `b` are …". */
const are = (names: FreeName[], is: string, are: string): string => `${join(names)} ${names.length > 1 ? are : is}`

const importInside = "imports must be made inside: `const { readFile } = await import('node:fs/promises')`"

const advice: Record<Reason, (names: FreeName[]) => string> = {
  plain: (names) => {
    // A value can be passed; what is only ever called is a function or a class, and those do not travel.
    const values = names.filter((one) => !one.called)
    const functions = names.filter((one) => one.called)
    const list = values.map((one) => one.name).join(', ')
    const ways = []
    if (values.length === 1) ways.push(`pass it with \`using: { ${list} }\` or as an argument`)
    if (values.length > 1) ways.push(`pass them with \`using: { ${list} }\` or as arguments`)
    if (functions.length > 0) {
      ways.push(`declare ${join(functions)} inside the script, for functions and classes cannot be passed`)
    }
    return `${ways.join('; ')}; ${importInside}`
  },
  import: (names) => {
    const list = names.filter((one) => one.name !== 'default' && one.name !== one.written).map((one) => one.name)
    const example =
      list.length > 0 ? `const { ${list.join(', ')} } = await import('…')` : "const module = await import('…')"
    return `${are(names, 'is an import', 'are imports')} of the surrounding module, which stays here; import inside the script: \`${example}\``
  },
  helper: (names) =>
    `${are(names, 'is a helper', 'are helpers')} that a compiler put into the surrounding module; compile for ES2022 or later, without downlevelling`,
  coverage: (names) =>
    `${are(names, 'counts', 'count')} coverage in the surrounding module; use a coverage tool that leaves the source as it is (v8), or exclude the script from it`,
  commonjs: (names) =>
    `${are(names, 'belongs', 'belong')} to the CommonJS module around the script; import inside: \`const { readFile } = await import('node:fs/promises')\`, or \`process.getBuiltinModule('node:fs')\``,
  builtin: (names) => {
    const imports = names.map(({ name }) => `\`const ${name} = await import('node:${name}')\``).join(', ')
    const list = names.map((one) => one.name).join(', ')
    return `if ${are(names, 'is the built-in module', 'are the built-in modules')}, import inside: ${imports}; otherwise \`using: { ${list} }\` passes a value`
  },
}

/**
 * The error for `references` (at least one) of the script called `title`; `place` turns an offset into `line:column` of
 * its text. Lists every name with its places, and for each kind of name how to do it instead.
 */
export function freeVariableError(
  title: string,
  references: readonly Reference[],
  place: (offset: number) => string,
): FreeVariableError {
  const found = new Map<string, FreeName>()
  for (const reference of references) {
    const { name, reason } = classify(reference)
    const key = `${reason} ${name === 'default' ? reference.name : name}`
    let one = found.get(key)
    if (!one) {
      const written = name === reference.name ? name : `${reference.name}.${name}`
      found.set(key, (one = { name, written, reason, places: [], assigned: false, called: true }))
    }
    if (one.places.length < 5) one.places.push(place(reference.at))
    one.assigned ||= reference.use === 'write'
    one.called &&= reference.use === 'call'
  }
  const names = [...found.values()]
  const list = names.map((one) => {
    const more = one.assigned ? ', assigned' : ''
    return `\`${one.name === 'default' ? one.written : one.name}\` (${one.places.join(', ')}${more})`
  })
  const lines = [`${title} uses ${list.join(', ')}, declared outside of it: only its text and what is passed travel`]
  for (const reason of Object.keys(advice) as Reason[]) {
    const group = names.filter((one) => one.reason === reason)
    if (group.length > 0) lines.push(`- ${advice[reason](group)}`)
  }
  const [assigned] = names.filter((one) => one.assigned)
  if (assigned)
    lines.push(`- \`globalThis.${assigned.name} = …\` keeps a value in the runspace from one call to the next`)
  return new FreeVariableError(
    lines.join('\n'),
    names.map((one) => one.name),
  )
}

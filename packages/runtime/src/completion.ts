// Names that could stand at the end of a line that is being typed, found in the realm where it would run.
//
// Values are taken from data properties alone: no getter and no trap of a proxy is called, nothing is evaluated. What a
// script has put in the place of the language's own functions (`RegExp.prototype.exec`) is called here as it is everywhere
// in its realm; what comes of that is no names, and nothing else.
import { Buffer } from 'node:buffer'
import { performance } from 'node:perf_hooks'
import process from 'node:process'
import { types } from 'node:util'
import { promptScope } from './prompt-scope.ts'
import { globalNames } from './script-globals.ts'
import { SessionHandle } from './session-handle.ts'
import type { Completion, ScriptContext } from './surface.ts'
import { COMPLETIONS_MOST, NO_COMPLETION } from './wire.ts'

/** Longer names are nobody's to type. */
const NAME_MOST = 128
/** Of a longer list the own names are not looked at: most are numbers. */
const LISTED_MOST = 1_000
/** Objects with more names of their own than this give none: what runs there would wait while they are looked through. */
const NAMES_MOST = 10_000
/**
 * Those that had more, and when they are looked at again: names are counted only by listing them, which of two million
 * takes V8 two seconds. It does that for a hundredth of its time at most.
 */
const crowded = new WeakMap<object, number>()
const RESTS_TIMES = 100

const NAME = String.raw`[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*`
/** The last thing of the text: `name`, `a.b.na`, `a?.[0].na`, and what stands before it. */
const PATH = new RegExp(String.raw`(?<path>(?:${NAME}(?:(?:\?\.)?\[\d+\])*(?:\?\.|\.))*)(?<last>(?:${NAME})?)$`, 'u')
const STEP = new RegExp(String.raw`${NAME}|\d+`, 'gu')

/**
 * What `text`, which ends at the cursor, could go on with. Nothing where that cannot be known without running it. Never
 * throws: it would end the isolate, with all that was made there.
 */
export function complete(text: string): Completion {
  try {
    const match = PATH.exec(text)
    if (!match || !isCode(text)) return NO_COMPLETION
    const { path = '', last = '' } = match.groups!
    const before = text.slice(0, match.index)
    // Behind the dot of something else, a call or a literal: what it gives is known only when it has run. `...` is no dot.
    if (/[\p{ID_Continue}$#]$|(?<!\.\.)\.$/u.test(before)) return NO_COMPLETION
    return path === '' ? chosen(rootNames(last), last) : chosen(memberNames(path, last), last)
  } catch {
    // An exotic object (a module that is still being loaded) refuses to be looked at, or the language was changed.
    return NO_COMPLETION
  }
}

/** The names of an interactive session, without a session. */
let scope: Readonly<Record<string, unknown>> | undefined
function outline(): Readonly<Record<string, unknown>> {
  const says = Object.fromEntries(
    ['sleep', 'warn', 'verbose', 'debug', 'info', 'error', 'progress', 'ask'].map((name) => [name, () => undefined]),
  )
  const session: unknown = Object.create(SessionHandle.prototype)
  const { signal } = new AbortController()
  const ctx = { ...says, signal, session, input: {}, location: '', cwd: '' } as unknown as ScriptContext
  return (scope ??= promptScope(ctx, []))
}

/** What was made there first, then the prompt's own names, then everybody's. */
function rootNames(last: string): string[][] {
  const there = namesOf(globalThis).filter((name) => name.startsWith(last))
  const own = there.filter(
    (name) => Object.prototype.propertyIsEnumerable.call(globalThis, name) && !globalNames.has(name),
  )
  const groups = [own, Object.keys(outline())]
  // All there is would be a wall of words; one letter is enough to ask for it.
  if (last !== '') groups.push(there)
  return groups
}

function memberNames(path: string, last: string): string[][] {
  const [first, ...steps] = path.match(STEP)!
  let value = rootValue(first!)
  for (const step of steps) value = valueOf(value, step)
  if (value === undefined || value === null) return []
  const groups: string[][] = []
  for (let at: object | null = Object(value) as object; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (types.isProxy(at)) break
    // Everything has those.
    if (at === Object.prototype && last === '' && groups.length > 0) break
    groups.push(namesOf(at))
  }
  return groups
}

function namesOf(object: object): string[] {
  // How long one is, a getter says. Its own names are numbers.
  if (types.isTypedArray(object)) return []
  if ((Array.isArray(object) || types.isStringObject(object)) && object.length > LISTED_MOST) return ['length']
  const begun = performance.now()
  if (begun < (crowded.get(object) ?? 0)) return []
  const names = Object.getOwnPropertyNames(object)
  if (names.length <= NAMES_MOST) return names
  const now = performance.now()
  crowded.set(object, now + RESTS_TIMES * (now - begun))
  return []
}

function rootValue(name: string): unknown {
  if (name === 'this') return globalThis
  const own = Object.getOwnPropertyDescriptor(globalThis, name)
  if (own?.get) return accessors[name]?.() ?? process.getBuiltinModule(name)
  return own ? own.value : (outline()[name] ?? valueOf(globalThis, name))
}

/**
 * Globals of Node that are accessors: what they would give is known without asking them, in whose place a script may have
 * put its own. Modules are the others.
 */
const accessors: Readonly<Record<string, () => unknown>> = {
  process: () => process,
  Buffer: () => Buffer,
  crypto: () => process.getBuiltinModule('node:crypto').webcrypto,
  performance: () => process.getBuiltinModule('node:perf_hooks').performance,
}

/** Of a data property, own or inherited; undefined where only a getter or a proxy could say. */
function valueOf(from: unknown, name: string): unknown {
  if (from === undefined || from === null) return undefined
  for (let at: object | null = Object(from) as object; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    if (types.isProxy(at)) return undefined
    const property = Object.getOwnPropertyDescriptor(at, name)
    if (property) return property.value
  }
  return undefined
}

/** In the order of the groups, each sorted, no name twice. */
function chosen(groups: readonly string[][], on: string): Completion {
  const names = new Set<string>()
  for (const group of groups) {
    const fitting = group.filter((name) => name.startsWith(on) && name.length <= NAME_MOST && TYPED.test(name))
    // Behind a full list they are only counted.
    if (names.size < COMPLETIONS_MOST) fitting.sort()
    for (const name of fitting) names.add(name)
  }
  const all = [...names]
  return { names: all.slice(0, COMPLETIONS_MOST), on, more: Math.max(0, all.length - COMPLETIONS_MOST) }
}
const TYPED = new RegExp(`^${NAME}$`, 'u')

/** Whether the end of a line is code, not inside a text or a comment. Regular expressions are taken for code. */
function isCode(text: string): boolean {
  /** What is open: a quote, or a brace inside a template. */
  const open: string[] = []
  for (let at = 0; at < text.length; at++) {
    const one = text[at]!
    const inside = open.at(-1)
    if (inside === '"' || inside === "'" || inside === '`') {
      if (one === '\\') at++
      else if (one === inside) open.pop()
      else if (inside === '`' && text.startsWith('${', at)) {
        open.push('}')
        at++
      }
    } else if (one === '"' || one === "'" || one === '`') open.push(one)
    else if (one === '{') open.push('}')
    else if (one === '}') open.pop()
    else if (text.startsWith('//', at)) return false
    else if (text.startsWith('/*', at)) {
      const end = text.indexOf('*/', at + 2)
      if (end < 0) return false
      at = end + 1
    }
  }
  return !['"', "'", '`'].includes(open.at(-1) ?? '')
}

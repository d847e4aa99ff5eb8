// Turns a script's text into something that runs. Loaded by every worker at its start: imports nothing heavy.
import { join } from 'node:path'
import vm from 'node:vm'
import { ScriptError } from './errors.ts'
import { builtinNames } from './script-globals.ts'

/** The name a script's lines carry in stack traces: `errand:script:3:9`. */
export const scriptName = 'errand:script'

const reserved = new Set(
  (
    'break case catch class const continue debugger default delete do else enum export extends false finally for function ' +
    'if import in instanceof new null return super switch this throw true try typeof var void while with'
  ).split(' '),
)

/** Whether `name` can be a variable of a (sloppy) script. */
export function isVariableName(name: string): boolean {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*$/u.test(name) && !reserved.has(name)
}

export interface CompileOptions {
  /** The directory `import()` resolves from. Default: the process's current one. */
  cwd?: string | undefined
}

function here(): string {
  try {
    return process.cwd()
  } catch {
    return '/' // the directory was removed: no reason to fail before something is imported
  }
}

type Wrapper = (...values: unknown[]) => unknown

const loader = vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER
let quiet = false

/**
 * Node warns once per thread that the loader's constant is experimental: at the first import(), on the job's own stderr.
 * That first import happens here instead (4 ms, so only for a script that has one): the warning is raised synchronously
 * and unheard; every other warning is untouched.
 */
function quietLoader(): void {
  if (quiet) return
  quiet = true
  const emitWarning = Object.getOwnPropertyDescriptor(process, 'emitWarning') as PropertyDescriptor
  process.emitWarning = () => {}
  try {
    const first = new vm.Script(`import('node:process')`, { importModuleDynamically: loader })
    ;(first.runInThisContext() as Promise<unknown>).catch(() => {}) // a built-in module: it cannot fail
  } finally {
    Object.defineProperty(process, 'emitWarning', emitWarning)
  }
}

/**
 * Compiles `body` as the body of a sloppy function with the parameters `names`, in this realm's global scope. The
 * script's own text must begin on the first line of the body, so that lines are counted as its author does (V8 ignores
 * line and column offsets beside a sourceURL). Throws ScriptError.
 */
export function compileBody(body: string, names: readonly string[], { cwd = here() }: CompileOptions = {}): Wrapper {
  for (const name of names) {
    if (!isVariableName(name)) throw new ScriptError(`${JSON.stringify(name)} cannot be the name of a variable`)
  }
  if (body.includes('import')) quietLoader()
  try {
    // The file name decides where import() resolves from: a file of that directory, existing or not. The sourceURL is
    // what stack traces show.
    return vm.compileFunction(`${body}\n//# sourceURL=${scriptName}`, [...names], {
      filename: join(cwd, scriptName),
      importModuleDynamically: loader,
    }) as Wrapper
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    const [where = '', source = '', mark = ''] = (error.stack ?? '').split('\n')
    const line = Number(/:(\d+)$/.exec(where)?.[1] ?? 1)
    const shown = line > 1 ? `\n  ${source}\n  ${mark}` : '' // the first line is partly ours
    throw new ScriptError(`${error.message} (line ${line})${shown}`, { cause: error })
  }
}

// esbuild and tsx (keepNames) put `__name(fn, 'x')` into function bodies and its definition at the top of the module.
function __name(target: object, value: string): object {
  return Object.defineProperty(target, 'name', { value, configurable: true })
}

// A session's runspace runs the same text again and again: the wrapper is kept so that V8 keeps its code warm.
const wrappers = new Map<string, Wrapper>()
const wrapperLimit = 64
const wrapperTextLimit = 65_536 // characters

/**
 * The function whose text `functionSource` made, living in this realm's global scope, with `using` and `scope` (the
 * former wins) visible as variables. Sloppy unless its text says otherwise; `import()` works. Throws ScriptError for
 * text that does not compile or is not a function.
 */
export function compileFunction(
  source: string,
  using: Record<string, unknown>,
  scope: Record<string, unknown>,
  options: CompileOptions = {},
): Function {
  const visible: Record<string, unknown> = Object.assign(Object.create(null), { __name }, scope, using)
  const names = Object.keys(visible)
  const { cwd = here() } = options
  const key = `${names.join()}\n${cwd}\n${source}`
  let wrapper = wrappers.get(key)
  if (wrapper === undefined) {
    wrapper = compileBody(`return (${source}\n)`, names, { cwd })
    if (source.length <= wrapperTextLimit) {
      if (wrappers.size >= wrapperLimit) wrappers.delete(wrappers.keys().next().value as string)
      wrappers.set(key, wrapper)
    }
  }
  const made = wrapper(...names.map((name) => visible[name]))
  if (typeof made !== 'function') throw new ScriptError('the text of the script is not a function')
  return made
}

/**
 * Makes the built-in modules visible by name on `target` (a runspace's globalThis), as Node's REPL does: for text typed
 * after `-e` or at a prompt. Loaded at first use; not enumerable; assigning replaces one; a name that `target` already
 * has is left alone. Functions that travel are checked as if these did not exist (a caller's own `url` or `path` must
 * not silently become the module).
 */
export function installBuiltinGlobals(target: object): void {
  for (const name of builtinNames) {
    if (name in target) continue
    const become = (value: unknown): void => {
      Object.defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false })
    }
    Object.defineProperty(target, name, {
      configurable: true,
      enumerable: false,
      get: () => {
        const module: unknown = process.getBuiltinModule(name)
        become(module)
        return module
      },
      set: become,
    })
  }
}

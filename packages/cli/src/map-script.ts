// What is done with each input, as typed or from a file, as a function: the one form in which a map's work travels.
import type { ModuleText, ScriptContext } from '@errand/runtime/client'
import { looksLikeFile } from './argv.ts'
import type { Context } from './context.ts'
import { Failure, usage } from './failure.ts'
import type { Flags } from './flags.ts'

type ItemScript = (ctx: ScriptContext, item: unknown) => unknown

/** In scope of code, beside `item` and `ctx`. */
const NAMES = '{ signal, sleep, ask, warn, verbose, debug, info, error, progress }'

/**
 * `x => …` is called with the item and `ctx`; other code has them as `item` and `ctx`; a file's export gets `(ctx, item)`
 * as any script does. @throws Failure USAGE, SCRIPT
 */
export async function mapScript(context: Context, flags: Flags, word: string | undefined): Promise<ItemScript> {
  if (flags.eval !== undefined && word !== undefined) throw usage(`'${word}' is too much beside -e CODE`)
  const code = flags.eval ?? word
  if (code === undefined) throw usage('nothing to do with them', "give 'x => …', a FILE.ts, or -e CODE")
  if (flags.eval !== undefined || !looksLikeFile(code)) return codeScript(code)
  const { readModule } = await import('./module-text.ts')
  return fileScript(await readModule(code, context.cwd))
}

function codeScript(code: string): ItemScript {
  const expression = attempt(
    `async (ctx, item, ${NAMES} = ctx) => { const made = (${code}\n); return typeof made === 'function' ? made(item, ctx) : made }`,
  )
  if (typeof expression === 'function') return expression
  // The inner braces: it may have a name of its own for what is in scope.
  const body = attempt(`async function* (ctx, item, ${NAMES} = ctx) { {${code}\n} }`)
  if (typeof body === 'function') return body
  throw new Failure('SCRIPT', `that is no JavaScript: ${body.message}`, "for example 'x => x.name', or -e 'item * 2'")
}

function fileScript({ module, export: name = 'default', file }: ModuleText): ItemScript {
  const url = `data:text/javascript;base64,${Buffer.from(module).toString('base64')}`
  const [from, what] = [JSON.stringify(url), JSON.stringify(name)]
  const missing = JSON.stringify(`${file ?? 'the file'} exports no function ${name}`)
  const made = attempt(`async (ctx, item) => {
    const { [${what}]: script } = await import(${from})
    if (typeof script !== 'function') throw new TypeError(${missing})
    return script(ctx, item)
  }`)
  if (typeof made === 'function') return made
  throw made
}

/** The function that this text is. It is only read here, and travels as its text. */
function attempt(text: string): ItemScript | Error {
  try {
    // oxlint-disable-next-line typescript/no-implied-eval, no-new-func -- what was typed to be run
    return new Function(`return (${text})`)() as ItemScript
  } catch (error) {
    return error as Error
  }
}

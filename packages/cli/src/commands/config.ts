// errand config: every setting with where its value comes from; get, set and unset one.
import { connectLocal, type PeerStatus } from '@errand/runtime/client'
import { readConfig, writeConfig, type Config } from '../config.ts'
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import { choice, type Flags } from '../flags.ts'
import { pick } from '../render/json.ts'
import { table } from '../render/table.ts'
import { found, settingNamed, SETTINGS, type Around, type Found, type Setting } from '../settings.ts'

/** How long a daemon may take to say that it is up, in milliseconds: only a remark hangs on it. */
const ASK_MS = 1000

export default async function config(context: Context, flags: Flags, words: readonly string[]): Promise<number> {
  const { home, cwd, env } = context
  const around: Around = { home, cwd, env, flags }
  const [verb, key, ...values] = words
  if (verb === undefined) return list(context, await readConfig(home), around)
  const does = choice(verb, ['get', 'set', 'unset'])
  if (key === undefined)
    throw usage(`errand config ${does} what?`, `settings: ${SETTINGS.map((one) => one.key).join(', ')}`)
  const setting = settingNamed(key)
  if (does !== 'set' && values.length > 0)
    throw usage(`'${values[0]}' is too much`, `errand config ${does} ${setting.key}`)
  if (does === 'get') return get(context, setting, found(setting, await readConfig(home), around))
  if (does === 'set' && values.length === 0) throw usage(`errand config set ${setting.key} to what?`, setting.about)
  // Also refuses what cannot be set at all.
  const value = does === 'set' || setting.field === undefined ? setting.parse(values, around) : undefined
  await writeConfig(home, { [setting.field!]: value })
  await sayInForce(context, setting, around)
  return EXIT.done
}

async function list(context: Context, written: Config, around: Around): Promise<number> {
  const { terminal, json, quiet } = context
  const rows = SETTINGS.map((setting) => ({ setting, ...found(setting, written, around) }))
  if (json !== undefined) {
    const documents = rows.map(({ setting, value, origin }) => pick({ key: setting.key, value, origin }, json))
    await terminal.out(`${JSON.stringify(documents)}\n`)
  } else if (quiet) await terminal.out(rows.map(({ setting }) => `${setting.key}\n`).join(''))
  else {
    const columns = ['KEY', 'VALUE', 'ORIGIN', 'WHAT'].map((title) => ({ title }))
    const cells = rows.map(({ setting, value, origin }) => [setting.key, shown(value) || '-', origin, setting.about])
    const style = { columns: terminal.columns, gap: '  ', title: (line: string) => terminal.data('bold', line) }
    await terminal.out(table(columns, cells, style))
  }
  return EXIT.done
}

async function get({ terminal, json }: Context, { key }: Setting, { value, origin }: Found): Promise<number> {
  if (json !== undefined) await terminal.out(`${JSON.stringify(pick({ key, value, origin }, json))}\n`)
  else if (Array.isArray(value)) await terminal.out(value.map((one) => `${one}\n`).join(''))
  else await terminal.out(`${shown(value)}\n`)
  return EXIT.done
}

/** What was written is not always what holds: something stands above it, or a daemon has read it before. */
async function sayInForce({ terminal, quiet, home, signal }: Context, setting: Setting, around: Around): Promise<void> {
  if (quiet) return
  const above = setting.above?.(around)
  if (above) terminal.say(`the ${above.origin} says ${shown(above.value)}, and stands above this`)
  const { listen } = await readConfig(home)
  if (setting.key === 'port' && listen !== undefined) {
    terminal.say(`listen says a port already: ${listen.join(', ')}`)
    terminal.say('  `errand config unset listen` gives the word to port')
  }
  if (!setting.restart) return
  const running = await daemonOf(home, AbortSignal.any([signal, AbortSignal.timeout(ASK_MS)]))
  if (!running) return
  terminal.say(`the peer that is up (process ${running.pid}) goes on as it was`)
  terminal.say('  `errand down`, then `errand up`, puts it in force')
}

async function daemonOf(home: string, signal: AbortSignal): Promise<PeerStatus | undefined> {
  try {
    await using peer = await connectLocal({ home, signal })
    return await peer.status({ signal })
  } catch {
    return undefined // nobody is up, or nobody who answers: `errand doctor` says more
  }
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.join(', ')
  return typeof value === 'string' ? value : value === null ? '' : JSON.stringify(value)
}

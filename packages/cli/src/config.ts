// What this machine's peer remembers between starts, in `<home>/config.json`: how it is called, where it listens, whom it
// stays connected with and where it keeps its jobs.
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf, milliseconds } from '@errand/runtime/client'
import type { Lock } from '@errand/transport'
import { Failure } from './failure.ts'
import { WHEN, type When } from './terminal.ts'

export interface Config {
  readonly name?: string
  /** Multiaddrs asked for with `--listen`, or by inviting somebody. None: loopback, as long as nobody is invited. */
  readonly listen?: readonly string[]
  /** The port that was chosen when none was asked for: chosen once, so that what others were told stays true. */
  readonly port?: number
  /** How long a lost link is retried. A duration, as typed. */
  readonly lostAfter?: string
  /** How long a daemon that was started on demand stays when nobody needs it. A duration, as typed. */
  readonly leaveAfter?: string
  readonly color?: When
  /** `memory`, or the file that jobs are kept in. None: `errand.db` in the home. */
  readonly store?: string
  /** Be found on the local network, and find peers there. */
  readonly mdns?: boolean
  /** Multiaddrs, ending in `/p2p/<id>`, of peers to stay connected with. */
  readonly bootstrap?: readonly string[]
  /** Files whose exports are offered to others. */
  readonly offer?: readonly string[]
}

function fileOf(home: string): string {
  return join(home, 'config.json')
}

/** What is remembered; nothing where nothing was. @throws Failure CONFIG for a file that is not ours */
export async function readConfig(home: string): Promise<Config> {
  let text: string
  try {
    text = await readFile(fileOf(home), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {}
    throw error
  }
  let config: unknown
  try {
    config = JSON.parse(text)
  } catch {
    // said below
  }
  if (isConfig(config)) return config
  throw new Failure('CONFIG', `${fileOf(home)} is not a configuration`, 'mend or remove it')
}

function isConfig(value: unknown): value is Config {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const { name, listen, port, store, mdns, bootstrap, offer, lostAfter, leaveAfter, color } = value as Record<
    string,
    unknown
  >
  const isText = (field: unknown): boolean => field === undefined || typeof field === 'string'
  const isList = (field: unknown): boolean =>
    field === undefined || (Array.isArray(field) && field.every((item) => typeof item === 'string'))
  return (
    isText(name) &&
    isDuration(lostAfter) &&
    isDuration(leaveAfter) &&
    (color === undefined || WHEN.includes(color as When)) &&
    isText(store) &&
    isList(listen) &&
    isList(bootstrap) &&
    isList(offer) &&
    (mdns === undefined || typeof mdns === 'boolean') &&
    (port === undefined || (Number.isInteger(port) && (port as number) > 0 && (port as number) < 65_536))
  )
}

function isDuration(value: unknown): boolean {
  if (value === undefined) return true
  try {
    return typeof value === 'string' && milliseconds(value) >= 0
  } catch {
    return false
  }
}

/**
 * Changes what is remembered, in one step: a reader sees the old or the new. Fields that we do not know are kept, and so is
 * what others change at the same time. @throws Failure CONFIG where somebody else does not get done with it
 */
export async function writeConfig(home: string, change: Config): Promise<void> {
  await mkdir(home, { recursive: true, mode: 0o700 })
  await using _ = await changing(home)
  const draft = `${fileOf(home)}.new`
  const whole = { ...(await readConfig(home)), ...change }
  await using file = await open(draft, 'w', 0o600)
  await file.writeFile(`${JSON.stringify(whole, null, 2)}\n`)
  await file.sync()
  await rename(draft, fileOf(home))
}

/** One at a time, of this process and of others: between reading and writing nobody else writes. */
async function changing(home: string): Promise<Lock> {
  const { holdLock } = await import('@errand/transport')
  for (let tried = 1; ; tried++) {
    try {
      return await holdLock(`${fileOf(home)}.lock`)
    } catch (error) {
      if (codeOf(error) !== 'KEY_IN_USE') throw error
      if (tried === TRIES) throw new Failure('CONFIG', `${fileOf(home)} is being changed by somebody else`, 'try again')
      await delay(AGAIN_MS)
    }
  }
}
const AGAIN_MS = 20
const TRIES = 250

/** Where to listen: as asked for; else here only, or everywhere once somebody is to come from elsewhere. */
export function listenOn({ listen, port = 0 }: Config, invites: boolean): readonly string[] {
  return listen ?? [`/ip4/${invites ? '0.0.0.0' : '127.0.0.1'}/tcp/${port}`]
}

/**
 * The same addresses with the ports that were bound instead of 0. `bound` are full multiaddrs as a peer tells them; an
 * address that is not among them stays as it is.
 */
export function withPorts(listen: readonly string[], bound: readonly string[]): string[] {
  const open = bound.map(partsOf).filter((address) => address !== undefined)
  return listen.map((text) => {
    const wanted = partsOf(text)
    if (wanted === undefined || wanted.port !== 0) return text
    // "Every interface" is told to others as its addresses, all with one port.
    const any = wanted.host === '0.0.0.0' || wanted.host === '::'
    const index = open.findIndex(({ family, host }) => family === wanted.family && (any || host === wanted.host))
    const [found] = index < 0 ? [] : open.splice(index, 1)
    return found === undefined ? text : text.replace(/\/tcp\/0(?=\/|$)/, `/tcp/${found.port}`)
  })
}

/** Asked for the same places with any port (0): those that were chosen before, so that the peer stays where it was. */
export function keepPorts(asked: readonly string[], before: readonly string[] | undefined): readonly string[] {
  const anyPort = (addresses: readonly string[]): string =>
    addresses.map((address) => address.replace(/\/tcp\/\d+(?=\/|$)/, '/tcp/0')).join(' ')
  const same = before !== undefined && asked.join(' ') === anyPort(asked) && anyPort(asked) === anyPort(before)
  return same ? before : asked
}

/** The port of the first address that has one. */
export function portOf(addresses: readonly string[]): number | undefined {
  return addresses.map((address) => partsOf(address)?.port).find((port) => port !== undefined && port > 0)
}

function partsOf(address: string): { family: string; host: string; port: number } | undefined {
  const match = /^\/(ip4|ip6)\/([^/]+)\/tcp\/(\d+)(?:\/|$)/.exec(address)
  return match ? { family: match[1]!, host: match[2]!, port: Number(match[3]) } : undefined
}

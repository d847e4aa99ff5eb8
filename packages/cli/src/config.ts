// What this machine's peer remembers between starts, in `<home>/config.json`: how it is called and where it listens.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Failure } from './failure.ts'

export interface Config {
  readonly name?: string
  /** Multiaddrs. A port of 0 is replaced by the one that was bound, so that addresses told to others stay true. */
  readonly listen?: readonly string[]
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
  let config: Config | undefined
  try {
    config = JSON.parse(text) as Config
  } catch {
    // said below
  }
  const { name, listen } = config ?? {}
  const fits =
    typeof config === 'object' &&
    config !== null &&
    (name === undefined || typeof name === 'string') &&
    (listen === undefined || (Array.isArray(listen) && listen.every((address) => typeof address === 'string')))
  if (!fits) throw new Failure('CONFIG', `${fileOf(home)} is not a configuration`, 'mend or remove it')
  return config!
}

/** Replaces what is remembered, in one step: a reader sees the old or the new. Fields that we do not know are kept. */
export async function writeConfig(home: string, config: Config): Promise<void> {
  await mkdir(home, { recursive: true, mode: 0o700 })
  const draft = `${fileOf(home)}.${process.pid}`
  await writeFile(draft, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 })
  await rename(draft, fileOf(home))
}

/**
 * Addresses to listen on next time: as asked for, with the ports that were bound. `bound` are full multiaddrs as a peer
 * tells them; an address that is not among them stays as it is.
 */
export function withPorts(listen: readonly string[], bound: readonly string[]): string[] {
  const open = bound.map(partsOf).filter((address) => address !== undefined)
  return listen.map((text) => {
    const wanted = partsOf(text)
    if (wanted === undefined || wanted.port !== 0) return text
    const any = wanted.host === '0.0.0.0' || wanted.host === '::'
    // "Every interface" is told to others as its addresses, all with one port.
    const index = open.findIndex(({ family, host }) => family === wanted.family && (any || host === wanted.host))
    if (index < 0) return text
    const [{ port } = { port: 0 }] = open.splice(index, 1)
    return text.replace(/\/tcp\/0(?=\/|$)/, `/tcp/${port}`)
  })
}

function partsOf(address: string): { family: string; host: string; port: number } | undefined {
  const match = /^\/(ip4|ip6)\/([^/]+)\/tcp\/(\d+)(?:\/|$)/.exec(address)
  return match ? { family: match[1]!, host: match[2]!, port: Number(match[3]) } : undefined
}

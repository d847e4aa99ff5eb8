// What may be set for this machine's peer: each setting with what it allows, what it is when nobody says, and where its
// value came from.
import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { isPlainName, milliseconds } from '@errand/runtime/client'
import type { Config } from './config.ts'
import { usage } from './failure.ts'
import { choice, type Flags } from './flags.ts'
import { nearest } from './suggestion.ts'
import { colorOf, WHEN } from './terminal.ts'

export type Origin = 'flag' | 'environment' | 'config.json' | 'default'

/** What a setting is, and who says so. `value` is null where there is none yet. */
export interface Found {
  readonly value: unknown
  readonly origin: Origin
}

/** What may stand above the file. */
export interface Around {
  readonly home: string
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  readonly flags: Pick<Flags, 'home' | 'color'>
}

export interface Setting {
  readonly key: string
  readonly about: string
  /** Its field in `config.json`; none: it cannot be set there. */
  readonly field?: string
  /** A daemon that is up has read it already. */
  readonly restart: boolean
  /** Words as typed, as the field's value. @throws Failure USAGE */
  readonly parse: (words: readonly string[], around: Around) => unknown
  /** What a flag or the environment says; that stands above the file. */
  readonly above?: (around: Around) => Found | undefined
  readonly otherwise: (around: Around, config: Config) => unknown
}

/** How long a daemon that was started on demand stays when nobody needs it. */
export const LEAVE_AFTER = '10m'

export const SETTINGS: readonly Setting[] = [
  {
    key: 'home',
    about: 'where key, address book, store, settings and socket lie; set by --home or ERRAND_HOME',
    restart: false,
    parse: () => {
      throw usage('home cannot be set: it is where the settings lie', 'use --home DIR, or the variable ERRAND_HOME')
    },
    above: ({ home, flags, env }) => {
      if (flags.home !== undefined) return { value: home, origin: 'flag' }
      return env['ERRAND_HOME'] || env['XDG_STATE_HOME'] ? { value: home, origin: 'environment' } : undefined
    },
    otherwise: ({ home }) => home,
  },
  {
    key: 'name',
    about: 'how others may call this peer',
    field: 'name',
    restart: true,
    parse: (words) => {
      const name = one(words)
      if (isPlainName(name) && !/^[\d.]+$/.test(name)) return name
      throw usage(
        `'${name}' is no name for a peer`,
        'up to 64 characters, not only digits, no control characters, no blanks around it',
      )
    },
    otherwise: () => hostname(),
  },
  {
    key: 'listen',
    about: 'multiaddrs to listen on; by default here only, until somebody is invited',
    field: 'listen',
    restart: true,
    parse: (words) =>
      addresses(words, /^\/(?:ip4|ip6|dns[46]?)\/[^/]+\/tcp\/(\d{1,5})(?:\/[^/]+)*$/, '/ip4/0.0.0.0/tcp/4100'),
    otherwise: (_, { port = 0 }) => [`/ip4/127.0.0.1/tcp/${port}`],
  },
  {
    key: 'port',
    about: 'the port where `listen` says none; chosen once, and kept',
    field: 'port',
    restart: true,
    parse: (words) => {
      const port = Number(one(words))
      if (/^\d+$/.test(one(words)) && port >= 1 && port <= 65_535) return port
      throw usage(`'${one(words)}' is no port`, 'a whole number from 1 to 65535')
    },
    otherwise: () => null,
  },
  {
    key: 'lost-after',
    about: 'how long a lost link to another peer is retried',
    field: 'lostAfter',
    restart: true,
    parse: duration,
    otherwise: () => '4m',
  },
  {
    key: 'leave-after',
    about: 'how long a peer that was started on demand stays when nobody needs it',
    field: 'leaveAfter',
    restart: true,
    parse: duration,
    otherwise: () => LEAVE_AFTER,
  },
  {
    key: 'store',
    about: 'the file of jobs and their records, or memory',
    field: 'store',
    restart: true,
    parse: (words, { cwd }) => {
      const where = one(words)
      if (where === '') throw usage("'' is no file", 'the path of a file, or memory')
      return where === 'memory' ? where : resolve(cwd, where)
    },
    otherwise: ({ home }) => join(home, 'errand.db'),
  },
  {
    key: 'mdns',
    about: 'whether to be found on the local network, and find peers there',
    field: 'mdns',
    restart: true,
    parse: (words) => choice(one(words), ['true', 'false']) === 'true',
    otherwise: () => false,
  },
  {
    key: 'bootstrap',
    about: 'multiaddrs of peers to stay connected with',
    field: 'bootstrap',
    restart: true,
    parse: (words) => {
      const whole = /^\/(?:ip4|ip6|dns[46]?)\/[^/]+\/tcp\/(\d{1,5})\/(?:.*\/)?p2p\/\w+$/
      const nobody = split(words).find((word) => word.startsWith('/') && !/\/p2p\/\w+$/.test(word))
      if (nobody === undefined) return addresses(words, whole, '/ip4/192.0.2.1/tcp/4100/p2p/12D3KooW…')
      const hint = 'write /ip4/192.0.2.7/tcp/4100/p2p/ID, as `errand status` there shows it'
      throw usage(`'${nobody}' does not say who is there`, hint)
    },
    otherwise: () => [],
  },
  {
    key: 'offer',
    about: 'files whose exports made by defineMachine and defineJob others may ask for',
    field: 'offer',
    restart: true,
    parse: (words, { cwd }) => {
      if (words.length === 0) throw usage('no file was given', '`errand config unset offer` for none')
      return words.map((word) => {
        const file = resolve(cwd, word)
        if (existsSync(file)) return file
        throw usage(`there is no file ${file}`, 'the path of a module, in JavaScript or TypeScript')
      })
    },
    otherwise: () => [],
  },
  {
    key: 'color',
    about: 'auto, always, never',
    field: 'color',
    restart: false,
    parse: (words) => choice(one(words), WHEN),
    above: ({ flags, env }) => {
      if (flags.color !== undefined) return { value: flags.color, origin: 'flag' }
      const said = colorOf(env)
      return said === undefined ? undefined : { value: said, origin: 'environment' }
    },
    otherwise: () => 'auto',
  },
]

/** @throws Failure USAGE for none such */
export function settingNamed(key: string): Setting {
  const small = key.toLowerCase()
  const found = SETTINGS.find((one) => one.key === small || one.field?.toLowerCase() === small)
  if (found) return found
  const keys = SETTINGS.map((one) => one.key)
  const near = nearest(key, keys)
  throw usage(
    `there is no setting '${key}'`,
    near === undefined ? `there are ${keys.join(', ')}` : `did you mean ${near}?`,
  )
}

/** What holds: a flag, else the environment, else the file, else the default. */
export function found(setting: Setting, config: Config, around: Around): Found {
  const above = setting.above?.(around)
  if (above) return above
  const written = setting.field === undefined ? undefined : (config as Record<string, unknown>)[setting.field]
  if (written !== undefined) return { value: written, origin: 'config.json' }
  return { value: setting.otherwise(around, config), origin: 'default' }
}

function one(words: readonly string[]): string {
  const [word = '', ...more] = words
  if (more.length > 0) throw usage(`'${more[0]}' is too much`, 'this setting has one value')
  return word
}

function duration(words: readonly string[]): string {
  milliseconds(one(words))
  return one(words)
}

/** `A B` and `A,B` are the same. */
function split(words: readonly string[]): string[] {
  return words.flatMap((word) => word.split(',')).filter((word) => word !== '')
}

function addresses(words: readonly string[], fits: RegExp, example: string): string[] {
  const all = split(words)
  const bad = all.find((word) => Number(fits.exec(word)?.[1] ?? 65_536) > 65_535)
  if (bad !== undefined) throw usage(`'${bad}' is not a multiaddr for this`, `write ${example}`)
  if (all.length === 0) throw usage('no multiaddr was given', `write ${example}; \`errand config unset\` for none`)
  return all
}

import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SETTINGS } from '../src/settings.ts'
import { errand } from './harness.ts'
import { listenOn, portOf, readConfig, withPorts, writeConfig } from '../src/config.ts'

describe('config.json', () => {
  let home: string
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'errand-'))
  })
  afterEach(() => rm(home, { recursive: true }))

  it('is empty where there is none', async () => {
    expect(await readConfig(join(home, 'none'))).toEqual({})
  })
  it('changes what is said and keeps the rest, also what a later version wrote', async () => {
    await writeFile(join(home, 'config.json'), '{"name":"a","later":1}')
    await writeConfig(home, { port: 4100 })
    expect(JSON.parse(await readFile(join(home, 'config.json'), 'utf8'))).toEqual({ name: 'a', later: 1, port: 4100 })
    expect((await stat(join(home, 'config.json'))).mode & 0o777).toBe(0o600)
  })
  it('loses nothing of what several change at the same time', async () => {
    const fields = Array.from({ length: 12 }, (_, n) => `field${n}`)
    await Promise.all(fields.map((field) => writeConfig(home, { [field]: field })))
    expect(Object.keys(JSON.parse(await readFile(join(home, 'config.json'), 'utf8')) as object).toSorted()).toEqual(
      fields.toSorted(),
    )
    expect(await readdir(home)).toEqual(['config.json'])
  })
  it.each([
    'nonsense',
    '[]',
    'null',
    '{"listen":"x"}',
    '{"port":"4100"}',
    '{"name":1}',
    '{"color":"pink"}',
    '{"lostAfter":"soon"}',
    '{"leaveAfter":5}',
  ])('refuses %s', async (text) => {
    await writeFile(join(home, 'config.json'), text)
    await expect(readConfig(home)).rejects.toMatchObject({ code: 'CONFIG' })
  })
})

describe('where to listen', () => {
  it('is here only, until somebody is invited; then where it was before', () => {
    expect(listenOn({}, false)).toEqual(['/ip4/127.0.0.1/tcp/0'])
    expect(listenOn({ port: 4100 }, false)).toEqual(['/ip4/127.0.0.1/tcp/4100'])
    expect(listenOn({ port: 4100 }, true)).toEqual(['/ip4/0.0.0.0/tcp/4100'])
    expect(listenOn({ port: 4100, listen: ['/ip4/127.0.0.1/tcp/1'] }, true)).toEqual(['/ip4/127.0.0.1/tcp/1'])
  })
})

describe('withPorts', () => {
  it('puts the port that was bound in the place of 0', () => {
    expect(withPorts(['/ip4/127.0.0.1/tcp/0'], ['/ip4/127.0.0.1/tcp/4100/p2p/x'])).toEqual(['/ip4/127.0.0.1/tcp/4100'])
  })
  it('gives every interface the port that all its addresses have', () => {
    const bound = ['/ip4/127.0.0.1/tcp/4100/p2p/x', '/ip4/10.0.0.1/tcp/4100/p2p/x']
    expect(withPorts(['/ip4/0.0.0.0/tcp/0'], bound)).toEqual(['/ip4/0.0.0.0/tcp/4100'])
  })
  it('does not give one port to two', () => {
    const bound = ['/ip4/127.0.0.1/tcp/1/p2p/x', '/ip4/127.0.0.1/tcp/2/p2p/x']
    expect(withPorts(['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/tcp/0'], bound)).toEqual([
      '/ip4/127.0.0.1/tcp/1',
      '/ip4/127.0.0.1/tcp/2',
    ])
  })
  it('leaves a port that was asked for, and what is not bound', () => {
    expect(withPorts(['/ip4/127.0.0.1/tcp/5', '/ip6/::1/tcp/0', '/dns4/x/tcp/0'], ['/ip4/127.0.0.1/tcp/9'])).toEqual([
      '/ip4/127.0.0.1/tcp/5',
      '/ip6/::1/tcp/0',
      '/dns4/x/tcp/0',
    ])
    expect(portOf(['/unix/x', '/ip4/127.0.0.1/tcp/9/p2p/x'])).toBe(9)
    expect(portOf([])).toBeUndefined()
  })
})

describe('errand config', () => {
  let home: string
  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), 'errand-'))
  })
  afterEach(() => rm(home, { recursive: true }))
  const config = (...words: string[]) => errand(['config', ...words], { env: { ERRAND_HOME: home } })
  const written = async (): Promise<unknown> => JSON.parse(await readFile(join(home, 'config.json'), 'utf8')) as unknown
  const all = async (...flags: string[]): Promise<Record<string, { value: unknown; origin: string }>> => {
    const { out } = await config('--json', ...flags)
    const rows = JSON.parse(out) as { key: string; value: unknown; origin: string }[]
    return Object.fromEntries(rows.map(({ key, ...rest }) => [key, rest]))
  }

  it('lists every setting with its value and who says so', async () => {
    await writeFile(join(home, 'config.json'), '{"name":"laptop","mdns":true}')
    expect(await all()).toMatchObject({
      home: { value: home, origin: 'environment' },
      name: { value: 'laptop', origin: 'config.json' },
      listen: { value: ['/ip4/127.0.0.1/tcp/0'], origin: 'default' },
      port: { value: null, origin: 'default' },
      'lost-after': { value: '4m', origin: 'default' },
      'leave-after': { value: '10m', origin: 'default' },
      store: { value: join(home, 'errand.db'), origin: 'default' },
      mdns: { value: true, origin: 'config.json' },
      bootstrap: { value: [], origin: 'default' },
      color: { value: 'auto', origin: 'default' },
    })
    const { out } = await config()
    for (const { key } of SETTINGS) expect(out).toMatch(new RegExp(`^${key} `, 'm'))
    expect(await all('--home', home, '--color', 'never')).toMatchObject({
      home: { origin: 'flag' },
      color: { value: 'never', origin: 'flag' },
    })
    const plain = await errand(['config', 'get', 'color', '--json'], { env: { ERRAND_HOME: home, NO_COLOR: '1' } })
    expect(JSON.parse(plain.out)).toEqual({ key: 'color', value: 'never', origin: 'environment' })
  })
  it('writes nothing when it only looks', async () => {
    await config()
    await config('get', 'name')
    await expect(written()).rejects.toThrow('ENOENT')
  })
  it.each([
    [['name', 'laptop'], { name: 'laptop' }, 'laptop\n'],
    [
      ['listen', '/ip4/0.0.0.0/tcp/4100', '/ip6/::/tcp/4100'],
      { listen: ['/ip4/0.0.0.0/tcp/4100', '/ip6/::/tcp/4100'] },
      '/ip4/0.0.0.0/tcp/4100\n/ip6/::/tcp/4100\n',
    ],
    [['port', '4100'], { port: 4100 }, '4100\n'],
    [['lost-after', '1m'], { lostAfter: '1m' }, '1m\n'],
    [['LEAVE-AFTER', '30s'], { leaveAfter: '30s' }, '30s\n'],
    [['store', 'memory'], { store: 'memory' }, 'memory\n'],
    [['store', 'jobs.db'], { store: '/srv/dir/jobs.db' }, '/srv/dir/jobs.db\n'],
    [['mdns', 'true'], { mdns: true }, 'true\n'],
    [
      ['bootstrap', '/ip4/192.0.2.1/tcp/1/p2p/12D3KooWx'],
      { bootstrap: ['/ip4/192.0.2.1/tcp/1/p2p/12D3KooWx'] },
      '/ip4/192.0.2.1/tcp/1/p2p/12D3KooWx\n',
    ],
    [['color', 'Never'], { color: 'never' }, 'never\n'],
  ])('sets, gets and unsets %j', async (words, field, shown) => {
    await writeFile(join(home, 'config.json'), '{"later":1}')
    expect(await config('set', ...words)).toEqual({ code: 0, out: '', err: '' })
    expect(await written()).toEqual({ later: 1, ...field })
    expect((await config('get', words[0]!)).out).toBe(shown)
    expect(await config('unset', words[0]!)).toEqual({ code: 0, out: '', err: '' })
    expect(await written()).toEqual({ later: 1 })
  })
  it.each([
    [['set', 'name', '42'], 'up to 64 characters'],
    [['set', 'name', 'a', 'b'], 'one value'],
    [['set', 'listen', 'localhost'], '/ip4/0.0.0.0/tcp/4100'],
    [['set', 'listen', '/ip4/1.2.3.4/tcp/70000'], '/ip4/0.0.0.0/tcp/4100'],
    [['set', 'port', '0'], 'from 1 to 65535'],
    [['set', 'lost-after', 'soon'], '500ms, 30s'],
    [['set', 'mdns', 'maybe'], 'true, false'],
    [['set', 'bootstrap', '/ip4/1.2.3.4/tcp/1'], '/p2p/'],
    [['set', 'color', 'pink'], 'auto, always, never'],
    [['set', 'home', '/x'], '--home DIR'],
    [['unset', 'home'], '--home DIR'],
    [['set', 'nmae', 'x'], 'did you mean name?'],
    [['get', 'zzzzzz'], 'there are home, name'],
    [['get', 'name', 'x'], "'x' is too much"],
    [['set', 'name'], 'to what?'],
    [['get'], 'settings: home'],
    [['put', 'name', 'x'], 'get, set, unset'],
  ])('%j: what is allowed is said, and nothing written', async (words, hint) => {
    const { code, out, err } = await config(...words)
    expect({ code, out }).toEqual({ code: 2, out: '' })
    expect(err).toContain(hint)
    await expect(written()).rejects.toThrow('ENOENT')
  })
  it('says what stands above what was set', async () => {
    await config('set', 'listen', '/ip4/0.0.0.0/tcp/4100')
    expect((await config('set', 'port', '4200')).err).toContain('listen says a port already')
    const { err } = await errand(['config', 'set', 'color', 'always'], { env: { ERRAND_HOME: home, NO_COLOR: '1' } })
    expect(err).toContain('the environment says never')
  })
  it('is obeyed: colours', async () => {
    await config('set', 'color', 'always')
    const colored = (env: Record<string, string>) => errand(['config'], { env: { ERRAND_HOME: home, ...env } })
    expect((await colored({})).out).toContain('\u001b[')
    expect((await colored({ NO_COLOR: '1' })).out).not.toContain('\u001b[')
    expect((await errand(['config', '--color', 'never'], { env: { ERRAND_HOME: home } })).out).not.toContain('\u001b[')
  })
  it('refuses a file that is not one', async () => {
    await writeFile(join(home, 'config.json'), '[]')
    expect(await config()).toMatchObject({ code: 1, err: expect.stringContaining('mend or remove it') })
    expect((await config('set', 'name', 'x')).code).toBe(1)
  })
})

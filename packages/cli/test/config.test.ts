import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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
  it.each(['nonsense', '[]', 'null', '{"listen":"x"}', '{"port":"4100"}', '{"name":1}'])('refuses %s', async (text) => {
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

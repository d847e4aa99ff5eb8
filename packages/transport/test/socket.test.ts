import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { type Socket, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { socket, socketPath } from '../src/socket.ts'
import { spawnPeer } from './fixtures/spawn-peer.ts'
import { helloOf } from './suites/places.ts'
import { PLAIN, type Raw, echo, failing, host, transportContract } from './suites/transport.suite.ts'

/** A directory of our own, 0700, removed when the test ends. */
async function home(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'errand-socket-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

async function dialled(path: string): Promise<Socket> {
  const stream = connect(path)
  await once(stream, 'connect')
  return stream
}

async function raw(path: string): Promise<Raw> {
  const stream = await dialled(path)
  stream.resume().on('error', () => {})
  return {
    write: (bytes) => (bytes.length === 0 ? stream.end() : stream.write(bytes)),
    closed: once(stream, 'close'),
    again: () => raw(path),
  }
}

describe('socket', () => {
  transportContract({
    async places() {
      const path = join(await home(), 'peer.sock')
      return { listener: socket({ path, listen: true }), dialer: socket({ path }) }
    },
    async remote(protocols) {
      const path = join(await home(), 'peer.sock')
      return { ...(await spawnPeer('socket', path, protocols)), dialer: socket({ path }) }
    },
    raw: (listener) => raw(listener.addresses[0]!),
  })
})

describe('socket file', () => {
  async function listening(path: string) {
    const transport = socket({ path, listen: true })
    onTestFinished(() => transport.close())
    const theirs = host({ accept: (channel) => void echo(channel) })
    await transport.start(theirs)
    return transport
  }

  async function ping(path: string): Promise<void> {
    const dialer = socket({ path })
    await dialer.start(host())
    const channel = await dialer.open('local', PLAIN.name)
    await channel.send('ping')
    for await (const value of channel) {
      expect(value).toBe('ping')
      break
    }
    await dialer.close()
  }

  test('is 0600 in a directory 0700, and gone with its lock after close', async () => {
    const directory = join(await home(), 'made', 'here')
    const path = join(directory, 'peer.sock')
    const transport = await listening(path)
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(transport.addresses).toEqual([path])
    await transport.close()
    expect(transport.addresses).toEqual([])
    expect(await readdir(directory)).toEqual([])
  })

  // Only root can become somebody else.
  test.runIf(process.getuid!() === 0)('is opened by nobody but its owner, even where the directory is', async () => {
    const directory = await home()
    const path = join(directory, 'peer.sock')
    await listening(path)
    const program = `require('node:net').connect(process.argv[1])
      .on('connect', () => process.exit(0)).on('error', (error) => (console.log(error.code), process.exit(1)))`
    const tried = async (uid: number): Promise<{ code: unknown; said: string }> => {
      const child = spawn(process.execPath, ['-e', program, path], {
        uid,
        gid: uid,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let said = ''
      child.stdout.on('data', (data) => (said += String(data)))
      const [code] = (await once(child, 'close')) as [unknown]
      return { code, said: said.trim() }
    }
    expect(await tried(0)).toEqual({ code: 0, said: '' })
    expect(await tried(65_534)).toEqual({ code: 1, said: 'EACCES' })
    await chmod(directory, 0o755)
    expect(await tried(65_534)).toEqual({ code: 1, said: 'EACCES' })
  })

  test('with a path too long for the system is refused by name, at both ends', async () => {
    const directory = await home()
    const path = join(directory, 'x'.repeat(104))
    await expect(socket({ path, listen: true }).start(host())).rejects.toEqual(failing('MALFORMED'))
    expect(await readdir(directory)).toEqual([])
    const dialer = socket({ path })
    await dialer.start(host())
    await expect(dialer.open('local', PLAIN.name)).rejects.toEqual(failing('MALFORMED'))
  })

  test('of a live peer is left alone: ADDRESS_IN_USE', async () => {
    const path = join(await home(), 'peer.sock')
    await listening(path)
    await expect(socket({ path, listen: true }).start(host())).rejects.toEqual(failing('ADDRESS_IN_USE'))
    await ping(path)
  })

  test('that a killed peer has left behind is replaced, by one of several who try', async () => {
    const path = join(await home(), 'peer.sock')
    const { child } = await spawnPeer('socket', path, [PLAIN])
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect((await stat(path)).isSocket()).toBe(true)
    const rivals = Array.from({ length: 4 }, () => socket({ path, listen: true }))
    onTestFinished(async () => void (await Promise.all(rivals.map((rival) => rival.close()))))
    const results = await Promise.allSettled(
      rivals.map((rival) => rival.start(host({ accept: (channel) => void echo(channel) }))),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const it of results) if (it.status === 'rejected') expect(it.reason).toEqual(failing('ADDRESS_IN_USE'))
    await ping(path)
  })

  test('is one process’s, of several that start at once; killed, it is the next one’s', async () => {
    const path = join(await home(), 'peer.sock')
    for (let round = 0; round < 2; round++) {
      const started = await Promise.allSettled([1, 2, 3].map(() => spawnPeer('socket', path, [PLAIN], true)))
      const [winner, ...others] = started.flatMap((it) => (it.status === 'fulfilled' ? [it.value] : []))
      onTestFinished(() => void winner?.child.kill('SIGKILL'))
      expect(others).toEqual([])
      await ping(path)
      const dead = once(winner!.child, 'exit')
      winner!.child.kill('SIGKILL')
      await dead
    }
  })

  test('that is served by someone without our lock is left alone', async () => {
    const path = join(await home(), 'peer.sock')
    const server = createServer((stream) => stream.destroy()).listen(path)
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    await expect(socket({ path, listen: true }).start(host())).rejects.toEqual(failing('ADDRESS_IN_USE'))
    await dialled(path)
  })

  test('that is no socket is left alone', async () => {
    const path = join(await home(), 'peer.sock')
    await writeFile(path, 'precious')
    await expect(socket({ path, listen: true }).start(host())).rejects.toEqual(failing('ADDRESS_IN_USE'))
    expect((await stat(path)).size).toBe('precious'.length)
  })

  test('in a directory open to others is neither made nor trusted', async () => {
    const directory = join(await home(), 'open')
    await mkdir(directory)
    await chmod(directory, 0o755)
    const path = join(directory, 'peer.sock')
    await expect(socket({ path, listen: true }).start(host())).rejects.toEqual(failing('DENIED'))
    const dialer = socket({ path })
    await dialer.start(host())
    await expect(dialer.open('local', PLAIN.name)).rejects.toEqual(failing('DENIED'))
  })

  test('leads to the local peer only', async () => {
    const path = join(await home(), 'peer.sock')
    await listening(path)
    const dialer = socket({ path })
    await dialer.start(host())
    await expect(dialer.open('somebody', PLAIN.name)).rejects.toEqual(failing('PROTOCOL'))
  })
})

describe('socketPath', () => {
  test('is in the home where the system allows the length, else short, the same for the same home', () => {
    expect(socketPath('/home/bob/.errand')).toBe('/home/bob/.errand/peer.sock')
    const deep = `/home/${'x'.repeat(200)}`
    expect(Buffer.byteLength(socketPath(deep))).toBeLessThanOrEqual(103)
    expect(socketPath(deep)).toBe(socketPath(`${deep}/`))
    expect(socketPath(deep)).not.toBe(socketPath(`${deep}y`))
  })

  test('works for a home whose own path would be too long', async () => {
    const deep = join(await home(), 'x'.repeat(120))
    const path = socketPath(deep)
    const transport = socket({ path, listen: true })
    onTestFinished(() => transport.close())
    await transport.start(host({ accept: (channel) => void echo(channel) }))
    expect(transport.addresses).toEqual([path])
    const dialer = socket({ path: socketPath(deep) })
    onTestFinished(() => dialer.close())
    await dialer.start(host())
    const channel = await dialer.open('local', PLAIN.name)
    await channel.send('ping')
    expect((await channel[Symbol.asyncIterator]().next()).value).toBe('ping')
  })
})

test('a peer that has ended, does not close and gives signs of life for ever is got rid of all the same', async () => {
  const path = join(await home(), 'peer.sock')
  const its = host({ accept: (channel) => void echo(channel) })
  const transport = socket({ path, listen: true })
  onTestFinished(() => transport.close())
  await transport.start(its)
  const raw = connect({ path, allowHalfOpen: true })
  raw.on('error', () => {}).resume()
  raw.write(helloOf(PLAIN))
  raw.write(Buffer.from('83000000', 'hex'))
  const drip = setInterval(() => raw.writable && raw.write(Buffer.alloc(4)), 50)
  onTestFinished(() => {
    clearInterval(drip)
    raw.destroy()
  })
  await vi.waitFor(() => expect(its.accepted).toBe(1))
  const closed = new Promise((resolve) => raw.once('close', resolve))
  await transport.disconnect('local')
  await closed
})

test('a peer that is no longer admitted when the carrier is there gets no channel', async () => {
  const path = join(await home(), 'peer.sock')
  const its = host()
  const listener = socket({ path, listen: true })
  const dialer = socket({ path })
  onTestFinished(async () => void (await Promise.all([listener.close(), dialer.close()])))
  await listener.start(its)
  let admitted = true
  await dialer.start(host({ admits: () => admitted }))
  const opening = dialer.open('local', PLAIN.name)
  admitted = false
  await expect(opening).rejects.toEqual(failing('DENIED'))
  expect(its.accepted).toBe(0)
})

describe('the entry of the socket carrier', () => {
  /** What a process of its own loads for this file. */
  async function loadedBy(file: string): Promise<string[]> {
    const program = `
      import { registerHooks } from 'node:module'
      const loaded = []
      registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
      await import(process.argv[1])
      console.log(JSON.stringify(loaded))`
    const url = new URL(`../src/${file}.ts`, import.meta.url).href
    const args = ['--conditions=source', '--input-type=module', '-e', program, url]
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let said = ''
    child.stdout.on('data', (data) => (said += String(data)))
    await once(child, 'close')
    return JSON.parse(said) as string[]
  }
  const foreign = (urls: readonly string[]): string[] => [
    ...new Set(urls.flatMap((url) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? [])),
  ]

  test.each(['socket', 'memory', 'index'])('loads no libp2p: %s', async (file) => {
    expect(foreign(await loadedBy(file))).toEqual(['cbor-x'])
  })

  test('would be seen to, if it did', async () => {
    expect(foreign(await loadedBy('libp2p'))).toEqual(expect.arrayContaining(['libp2p', '@libp2p/noise']))
  })
})

// A peer that only dials out: nobody can call it, and it is given work all the same, over the connection that it opened;
// also over the next one, when that was lost.
import { createServer, connect as connectTo, type Server, type Socket } from 'node:net'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { libp2p } from '@errand/transport/libp2p'
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { codeOf, createPeer, type Grant, type Peer, type ScriptContext } from '../src/index.ts'
import { type PeerProcess, Peers, all, outputs, refusal, until, within } from './support/peers.ts'
import { counter, lines } from './support/scripts.ts'

const GRANTS: Grant[] = ['connect', 'run:script']
const BEAT = { heartbeat: 50, suspicion: 250 }

describe('on the memory network', () => {
  let network: MemoryNetwork
  let folder: string
  let here: Peer
  let inside: Peer
  beforeEach(async () => {
    network = createMemoryNetwork()
    folder = await mkdtemp(join(tmpdir(), 'errand-'))
    here = await createPeer({
      name: 'here',
      transport: memory({ network, name: 'here' }),
      policy: { peers: { inside: ['connect'] } },
      ...BEAT,
    })
    inside = await createPeer({
      name: 'inside',
      transport: memory({ network, name: 'inside', dialOnly: true }),
      policy: { peers: { here: GRANTS } },
      ...BEAT,
    })
  })
  afterEach(async () => {
    await Promise.all([here.close(), inside.close()])
    await rm(folder, { recursive: true, force: true })
  })

  test('who is named at its start is known, and allowed nothing that it was not', async () => {
    const bootstrap = ['/memory/here/p2p/here', '/memory/there/p2p/there']
    await using peer = await createPeer({
      name: 'third',
      transport: memory({ network, name: 'third' }),
      policy: { peers: { here: GRANTS } },
      bootstrap,
    })
    expect(await peer.peers()).toMatchObject([
      { id: 'here', grants: GRANTS },
      { id: 'there', grants: [], addresses: [bootstrap[1]] },
    ])
    const nobody = await refusal('an address of nobody', () => createPeer({ name: 'x', bootstrap: ['/memory/here'] }))
    expect(codeOf(nobody)).toBe('USAGE')
  })

  test('it cannot be called, and says so; once it has called it is given jobs, by its name', async () => {
    expect(inside.addresses).toEqual([])
    expect(codeOf(await refusal('a call', () => here.connect('inside')))).toBe('PEER_UNREACHABLE')
    const early = await here.start(() => 1, { on: 'inside' })
    expect((await early.wait()).state).toBe('Failed')
    expect(codeOf(early.children[0]?.reason)).toBe('PEER_UNREACHABLE')

    await inside.connect('here')
    const job = await here.start((ctx: ScriptContext) => ctx.location, { on: 'inside' })
    expect(await job.output()).toEqual(['inside'])
    expect(job).toMatchObject({ state: 'Completed', location: 'inside' })
    expect(await here.run(() => 2, { on: 'inside' })).toBe(2)
  })

  test('lost and called again by it, what it was given goes on: every line once', async () => {
    const gate = join(folder, 'gate')
    await inside.connect('here')
    const session = await here.connect('inside')
    const job = await here.start(counter, { args: [5, { 3: gate }], on: session })
    const following = outputs(job.receive({ follow: true }))
    await until('two lines have come', async () => (await all(job.receive({ keep: true, from: 0 }))).length === 2)
    network.lose('here', 'inside')
    await within('the loss', job.wait({ for: ['Disconnected'] }))
    await writeFile(gate, '')
    expect(await within('the stream', following)).toEqual(lines(1, 5))
    expect(session.state).toBe('Opened')
  })
})

/** What stands between the two: it carries connections one way, and a test ends them. */
class Gateway {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #shut = false

  constructor(port: number) {
    this.#server = createServer((socket) => {
      if (this.#shut) return void socket.destroy()
      const onward = connectTo(port, '127.0.0.1')
      for (const [one, other] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        this.#sockets.add(one)
        one.pipe(other)
        one.on('error', () => other.destroy())
        one.on('close', () => {
          this.#sockets.delete(one)
          other.destroy()
        })
      }
    })
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return (this.#server.address() as { port: number }).port
  }

  /** Ends all there is, and lets nothing through until it is opened again. */
  cut(): void {
    this.#shut = true
    for (const socket of this.#sockets) socket.destroy()
  }

  open(): void {
    this.#shut = false
  }

  async close(): Promise<void> {
    this.#server.close()
    this.cut()
    await once(this.#server, 'close')
  }
}

describe('on libp2p, in two processes', () => {
  let peers: Peers
  let server: PeerProcess
  let gateway: Gateway
  let inside: Peer
  beforeAll(async () => {
    peers = await Peers.start()
    server = await peers.process('server')
    gateway = new Gateway(Number(/\/tcp\/(\d+)/.exec(server.addresses[0]!)![1]))
    const port = await gateway.listen()
    const home = peers.path('inside')
    await mkdir(home, { mode: 0o700 })
    // Nobody can call it. It stays connected with the server, through the gateway.
    const transport = libp2p({
      keyFile: join(home, 'key'),
      bootstrap: [`/ip4/127.0.0.1/tcp/${port}/p2p/${server.id}`],
    })
    inside = await createPeer({ name: 'inside', home, transport })
    await inside.join(await server.ask('invite', { grants: ['connect'] }))
    await inside.allow(server.id, GRANTS)
  })
  afterAll(async () => {
    await inside.close()
    await gateway.close()
    await peers.close()
  })

  const WHERE = { module: 'export default (ctx) => ctx.location' }

  test('it listens nowhere, and is given jobs by its name and by its id over the connection that it opened', async () => {
    expect(inside.addresses).toEqual([])
    for (const on of ['inside', inside.id]) {
      const { instanceId } = await until('it has called', async () => {
        const started = await server.ask('start', WHERE, { on: [on] })
        const [first] = await server.ask('follow', started.instanceId, { follow: true })
        return first?.kind === 'output' ? started : undefined
      })
      expect(await outputs(await server.ask('follow', instanceId, { from: 0, recurse: true }))).toEqual(['inside'])
    }
  })

  test('when that is lost it calls again, and what it was given goes on: every line once', async () => {
    const gate = peers.gate()
    const { instanceId: session } = await server.ask('connect', 'inside')
    const work = { module: `export default ${counter.toString()}` }
    const { instanceId: job } = await server.ask('start', work, { sessions: [session], args: [6, { 4: gate.path }] })
    expect(await outputs(await server.ask('follow', job, { follow: true, limit: 3 }))).toEqual(lines(1, 3))
    const stateOf = async (): Promise<string | undefined> =>
      (await server.ask('sessions')).find((one) => one.instanceId === session)?.state
    gateway.cut()
    await until('it is lost', async () => (await stateOf()) === 'Connecting')
    gateway.open()
    await until('it is back', async () => (await stateOf()) === 'Opened')
    await gate.open()
    expect(await outputs(await server.ask('follow', job, { follow: true }))).toEqual(lines(4, 6))
  })
})

// What the other side of a link may try, and what it must not get. Over the memory carrier, spoken by hand.
import { encode, type Channel, type Protocol, type Transport } from '@errand/transport'
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, createPeer } from '../src/index.ts'
import type { Grant, Peer } from '../src/surface.ts'
import { CONTROL, DATA, JOIN, protocols, VERSION } from '../src/wire.ts'

const all: Grant[] = ['connect', 'run:script', 'run:command']
let network: MemoryNetwork
let server: Peer
let open: (Transport | Peer)[]

beforeEach(async () => {
  network = createMemoryNetwork()
  open = []
  server = await createPeer({
    name: 'server',
    transport: memory({ network, name: 'server' }),
    policy: { peers: { alice: all, bob: ['connect'] } },
  })
  open.push(server)
})
afterEach(async () => {
  for (const one of open.toReversed()) await one.close()
})

async function client(name: string): Promise<Peer> {
  const peer = await createPeer({ name, transport: memory({ network, name }), policy: { peers: { server: [] } } })
  open.push(peer)
  return peer
}

/** A peer that says what it likes. */
async function speaker(name: string): Promise<Transport> {
  const transport = memory({ network, name })
  await transport.start({
    admits: () => true,
    protocols: protocols({ interval: 1000, suspicion: 4000 }) as Protocol[],
    accept: (channel) => channel.abort(),
  })
  open.push(transport)
  return transport
}

async function hello(
  transport: Transport,
  clientId: string,
  v = VERSION,
): Promise<{ control: Channel; answers: AsyncIterator<unknown> }> {
  const control = await transport.open('server', CONTROL)
  const link = crypto.randomUUID()
  await control.send({ t: 'hello', v, link, client: clientId, name: 'x' })
  const data = await transport.open('server', DATA)
  await data.send({ t: 'hello', link })
  const answers = control[Symbol.asyncIterator]()
  return { control, answers }
}

describe('a link', () => {
  it('answers a request once however often it is asked, and nobody else gets that answer', async () => {
    const transport = await speaker('alice')
    const { control, answers } = await hello(transport, 'A')
    await answers.next()
    const ask = { t: 'ask', id: 7, to: {}, event: { type: 'session.open', options: { openId: 'o' } } }
    await control.send(ask)
    await control.send(ask)
    const [first, second] = [(await answers.next()).value, (await answers.next()).value] as {
      t: string
      value: { instanceId: string }
    }[]
    expect(first).toMatchObject({ t: 'ok', id: 7 })
    expect(second!.value.instanceId).toBe(first!.value.instanceId)
    // Another key that claims to be the same client process is a client of its own.
    const { control: other, answers: others } = await hello(await speaker('bob'), 'A')
    await others.next()
    await other.send({ ...ask, event: { type: 'sessions' } })
    expect((await others.next()).value).toMatchObject({ t: 'ok', value: [] })
  })

  it('that ends does not detach the sessions of somebody who bears the same client name', async () => {
    const alice = await client('alice')
    const session = await alice.connect('server')
    const { control, answers } = await hello(
      await speaker('bob'),
      (alice as unknown as { ref: { name: string } }).ref.name,
    )
    await answers.next()
    control.abort()
    await control.closed
    expect(await session.run({ code: '1 + 1' })).toBe(2)
    expect(session.state).toBe('Opened')
  })

  it('refuses before it looks: what may not be done and what is not there sound the same', async () => {
    const { control, answers } = await hello(await speaker('bob'), 'B')
    await answers.next()
    const spec = { kind: 'code', source: '1', command: '1', startId: crypto.randomUUID() }
    await control.send({ t: 'ask', id: 1, to: { session: 'no such session' }, event: { type: 'run', spec } })
    expect((await answers.next()).value).toMatchObject({ t: 'no', error: { code: 'DENIED' } })
    await control.send({ t: 'ask', id: 2, to: {}, event: { type: 'local.status' } })
    expect((await answers.next()).value).toMatchObject({ t: 'no', error: { code: 'DENIED' } })
  })

  it('gives nobody the session of another owner', async () => {
    const alice = await client('alice')
    const session = await alice.connect('server')
    const { control, answers } = await hello(await speaker('bob'), 'B')
    await answers.next()
    await control.send({ t: 'ask', id: 1, to: { session: session.instanceId }, event: { type: 'jobs', filter: {} } })
    expect((await answers.next()).value).toMatchObject({ t: 'no', error: { code: 'SESSION_NOT_FOUND' } })
    await control.send({
      t: 'ask',
      id: 2,
      to: {},
      event: { type: 'session.attach', session: session.instanceId, force: true },
    })
    expect((await answers.next()).value).toMatchObject({ t: 'no', error: { code: 'SESSION_NOT_FOUND' } })
  })

  it('gives a session to the client that has it: its owner’s others look at it, and touch nothing', async () => {
    const { control, answers } = await hello(await speaker('alice'), 'A')
    await answers.next()
    const { control: second, answers: others } = await hello(await speaker('bob'), 'B')
    await others.next()
    await server.allow('alice', all, { owner: 'us' })
    await server.allow('bob', all, { owner: 'us' })
    let id = 0
    const ask = async (
      who: 'A' | 'B',
      event: object,
      to: object = {},
    ): Promise<{ t: string; value: any; error: any }> => {
      await (who === 'A' ? control : second).send({ t: 'ask', id: ++id, to, event })
      return (await (who === 'A' ? answers : others).next()).value
    }
    const { value } = await ask('A', { type: 'session.open', options: { openId: 'o' } })
    const session = { session: value.instanceId as string }
    const spec = { kind: 'code', source: 'await sleep(600_000)', command: 'sleep', startId: crypto.randomUUID() }
    const job = (await ask('A', { type: 'start', spec }, session)).value.instanceId as string
    const refused = { t: 'no', error: { code: 'SESSION_STATE' } }
    const every: [object, string?][] = [
      [{ type: 'run', spec: { ...spec, startId: crypto.randomUUID() } }],
      [{ type: 'start', spec: { ...spec, startId: crypto.randomUUID() } }],
      [{ type: 'stop', grace: 0 }, job],
      [{ type: 'remove', force: true }, job],
      [{ type: 'acknowledge', reader: 'owner', seqs: [[job, 1]] }, job],
      [{ type: 'jobs', filter: {} }],
      [{ type: 'runs' }],
    ]
    const tryAll = async (who: 'A' | 'B'): Promise<void> => {
      for (const [event, of] of every) {
        expect(await ask(who, event, { ...session, ...(of && { job: of }) }), JSON.stringify(event)).toMatchObject(
          refused,
        )
      }
    }
    await tryAll('B')
    expect(await ask('B', { type: 'close' }, session)).toMatchObject(refused)
    expect(await ask('B', { type: 'session' }, session)).toMatchObject({ t: 'ok' })
    expect(await ask('B', { type: 'session.attach', session: session.session })).toMatchObject(refused)
    expect(await ask('B', { type: 'session.attach', session: session.session, force: true })).toMatchObject({
      t: 'ok',
      value: { state: 'Opened' },
    })
    // Now it is the other one’s, and the first is one of the others.
    await tryAll('A')
    expect(await ask('A', { type: 'close' }, session)).toMatchObject(refused)
    expect(await ask('B', { type: 'jobs', filter: {} }, session)).toMatchObject({ value: [{ state: 'Running' }] })
    // While nobody has it, it can be closed, and nothing else.
    expect(await ask('B', { type: 'disconnect' }, session)).toMatchObject({ t: 'ok' })
    await tryAll('B')
    expect(await ask('A', { type: 'close', grace: 0 }, session)).toMatchObject({ t: 'ok' })
  })

  it('refuses unknown events and fields that do not fit, and goes on', async () => {
    const { control, answers } = await hello(await speaker('alice'), 'A')
    await answers.next()
    for (const [id, event] of [{ type: 'nonsense' }, { type: 'session.open', options: 3 }, {}].entries()) {
      await control.send({ t: 'ask', id, to: {}, event })
      expect((await answers.next()).value).toMatchObject({ t: 'no', id, error: { code: 'USAGE' } })
    }
    await control.send({ t: 'ask', id: 9, to: {}, event: { type: 'ping' } })
    expect((await answers.next()).value).toMatchObject({ t: 'ok', id: 9 })
  })

  it('ends at a message that is none, and the peer does not notice', async () => {
    const { control, answers } = await hello(await speaker('alice'), 'A')
    await answers.next()
    await control.send({ t: 'credit', r: -1, bytes: 'x' })
    expect((await control.closed).error).toMatchObject({ code: 'PROTOCOL' })
    const alice = await client('carol').catch(() => undefined)
    expect(alice).toBeDefined()
  })

  it('refuses a version too far from its own', async () => {
    const { control } = await hello(await speaker('alice'), 'A', VERSION + 2)
    expect((await control.closed).error).toMatchObject({ code: 'PROTOCOL' })
  })

  it('carries messages larger than a control frame', async () => {
    const alice = await client('alice')
    await using session = await alice.connect('server')
    const big = 'x'.repeat(300_000)
    expect(await session.run((_, text: string) => text.length, { args: [big] })).toBe(300_000)
    await expect(
      session.run(
        (_, text: string) => {
          throw new Error(text)
        },
        { args: [big] },
      ),
    ).rejects.toThrow('xxx')
    const job = await session.start({ code: `/* ${big} */ 5` })
    expect(await job.output()).toEqual([5])
    expect(session.state).toBe('Opened')
  })
})

describe('a ticket', () => {
  it('lets its holder in once, under a key it has proved', async () => {
    const ticket = await server.invite()
    const dave = await client('dave')
    expect((await dave.join(ticket, { name: 'there' })).name).toBe('there')
    expect(await (await dave.connect('there')).run({ code: '2' })).toBe(2)
    const eve = await client('eve')
    await expect(eve.join(ticket)).rejects.toMatchObject({ code: 'TICKET' })
    await expect(eve.connect('server')).rejects.toMatchObject({ code: 'DENIED' })
  })

  it('does not let its holder speak for another peer, nor do anything but join', async () => {
    const ticket = await server.invite()
    const { readTicket } = await import('../src/ticket.ts')
    const mallory = await speaker('mallory')
    const guest = await mallory.sibling!(readTicket(ticket).seed)
    await guest.start({
      admits: () => true,
      protocols: protocols({ interval: 1000, suspicion: 4000 }),
      accept: (channel) => channel.abort(),
    })
    open.push(guest)
    const proof = await mallory.sign!(encode(['errand join', 'server', guest.id, 'alice']))
    const channel = await guest.open('server', JOIN)
    await channel.send({ t: 'join', v: VERSION, id: 'alice', name: 'evil', addresses: ['/evil'], proof })
    expect((await channel.closed).error).toMatchObject({ code: 'TICKET' })
    expect((await server.peers()).find(({ id }) => id === 'alice')).toMatchObject({ addresses: [] })
    await expect(guest.open('server', CONTROL)).rejects.toMatchObject({ code: 'DENIED' })
    // Nothing was used up by it.
    await guest.close()
    const dave = await client('dave')
    await dave.join(ticket)
  })

  it('taken again by who is in already takes no use, and gives nothing back to who was let go', async () => {
    const ticket = await server.invite({ uses: 2 })
    const [dave, eve, fay] = await Promise.all(['dave', 'eve', 'fay'].map(client))
    for (let n = 0; n < 3; n++) await dave!.join(ticket)
    await eve!.join(ticket)
    // Used up: the answer may have been lost all the same.
    await dave!.join(ticket)
    await expect(fay!.join(ticket)).rejects.toMatchObject({ code: 'TICKET' })
    await server.deny('dave')
    await expect(dave!.join(ticket)).rejects.toMatchObject({ code: 'TICKET' })
    expect((await server.peers()).find(({ id }) => id === 'dave')).toMatchObject({ grants: [] })
  })

  it.each([1, 5])('that seven take at the same moment lets in as many as it has uses: %i', async (uses) => {
    const ticket = await server.invite({ uses })
    const before = (await server.peers()).length
    const peers = await Promise.all(['dave', 'eve', 'fay', 'gus', 'hal', 'ida', 'joe'].map(client))
    const joined = await Promise.allSettled(peers.map((peer) => peer.join(ticket)))
    const refused = joined.flatMap((one) => (one.status === 'rejected' ? [codeOf(one.reason)] : []))
    expect(refused).toEqual(Array.from({ length: 7 - uses }, () => 'TICKET'))
    expect((await server.peers()).length - before).toBe(uses)
  })
})

// A client that gets another address while its work goes on elsewhere: a laptop that is carried from one network to the
// next. In a network namespace of its own, which takes Linux and root; skipped where there is neither.
import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type PeerProcess, Peers, outputs, until } from './support/peers.ts'
import { counter, lines } from './support/scripts.ts'

const NAMESPACE = `errand-${process.pid}`
/** The link's ends: ours, and the one in there. A network that nobody else here uses. */
const [OURS, THEIRS] = [`er${process.pid}`.slice(0, 13) + 'a', `er${process.pid}`.slice(0, 13) + 'b']
const net = (host: number): string => `10.231.${process.pid % 250}.${host}`

const IP = 'ip'
function ip(line: string): void {
  execFileSync(IP, line.split(' '), { stdio: ['ignore', 'ignore', 'pipe'] })
}

function canIsolate(): boolean {
  try {
    ip(`netns add ${NAMESPACE}`)
    ip(`netns del ${NAMESPACE}`)
    return true
  } catch {
    return false
  }
}

describe.skipIf(!canIsolate())('a client with a new address', () => {
  let peers: Peers
  let server: PeerProcess
  let client: PeerProcess
  beforeAll(async () => {
    ip(`netns add ${NAMESPACE}`)
    ip(`link add ${OURS} type veth peer name ${THEIRS} netns ${NAMESPACE}`)
    ip(`addr add ${net(1)}/24 dev ${OURS}`)
    ip(`link set ${OURS} up`)
    ip(`-n ${NAMESPACE} addr add ${net(2)}/24 dev ${THEIRS}`)
    ip(`-n ${NAMESPACE} link set ${THEIRS} up`)
    ip(`-n ${NAMESPACE} link set lo up`)
    peers = await Peers.start()
    const beat = { heartbeat: 100, suspicion: 500 }
    server = await peers.process('server', { host: net(1), ...beat })
    client = await peers.process('client', { namespace: NAMESPACE, ...beat })
    await client.ask('join', await server.ask('invite'))
  })
  afterAll(async () => {
    await peers?.close()
    ip(`netns del ${NAMESPACE}`)
  })

  /** The addresses from which it is connected with the server. */
  const from = (): string[] => {
    const table = execFileSync(IP, ['netns', 'exec', NAMESPACE, 'cat', '/proc/net/tcp'], { encoding: 'utf8' })
    // Established ones, as the kernel writes them: the bytes of an address in its own order.
    const rows = [...table.matchAll(/^\s*\d+: (\w{8}):\w{4} (\w{8}):\w{4} 01 /gm)]
    const address = (hex: string): string => [...Buffer.from(hex, 'hex')].toReversed().join('.')
    return rows.filter(([, , to]) => address(to!) === net(1)).map(([, own]) => address(own!))
  }

  test('resumes its session from there: it is the same, and every line comes once', async () => {
    const gate = peers.gate()
    const { instanceId: session } = await client.ask('connect', 'server')
    const work = { module: `export default ${counter.toString()}` }
    const { instanceId: job } = await client.ask('start', work, { sessions: [session], args: [8, { 5: gate.path }] })
    expect(await outputs(await client.ask('follow', job, { follow: true, limit: 4 }))).toEqual(lines(1, 4))
    expect(from()).toContain(net(2))
    const stateOf = async (): Promise<string | undefined> =>
      (await client.ask('sessions')).find(({ instanceId }) => instanceId === session)?.state

    ip(`-n ${NAMESPACE} addr del ${net(2)}/24 dev ${THEIRS}`)
    await until('it is lost', async () => (await stateOf()) === 'Connecting')
    // What is said while it has no address at all is there when it has one.
    await gate.open()
    ip(`-n ${NAMESPACE} addr add ${net(3)}/24 dev ${THEIRS}`)
    await until('it is back', async () => (await stateOf()) === 'Opened')
    expect(from()).toContain(net(3))
    expect(await outputs(await client.ask('follow', job, { follow: true }))).toEqual(lines(5, 8))
    const [hosted, ...others] = await client.ask('sessions', 'server')
    expect([hosted?.instanceId, others]).toEqual([session, []])
  })
})

// Supervisors of every strategy over three peers, while lines are cut, connections lost, peers stand still, and children
// end, at random. When it is over there is one of each child, where the supervisor says, and none besides. The seed is in each
// test's name; ERRAND_TEST_SEED runs another one.
import { createMemoryNetwork, memory, type MemoryNetwork } from '@errand/transport/memory'
import { test } from 'vitest'
import { fromCallback, setup } from 'xstate'
import {
  createPeer,
  defineMachine,
  type MachineDefinition,
  type Peer,
  type PeerOptions,
  type Supervisor,
} from '../src/index.ts'
import { drawn } from './support/draw.ts'
import { until, within } from './support/peers.ts'

const FIRST = Number(process.env['ERRAND_TEST_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const SERVERS = ['server01', 'server02', 'server03']
const CHILDREN = ['a', 'b', 'c']
const FAULTS = 14
const SUSPICION = 150

/** `child@peer`, for each that is there. */
type There = string[]

const probe = (peer: string, there: There): MachineDefinition =>
  defineMachine({
    name: 'probe',
    machine: setup({
      types: { input: {} as string, context: {} as { id: string } },
      actors: {
        be: fromCallback(({ input }: { input: string }) => {
          there.push(input)
          return () => void there.splice(there.indexOf(input), 1)
        }),
      },
    }).createMachine({
      context: ({ input }) => ({ id: input }),
      invoke: { src: 'be', input: ({ context }) => `${context.id}@${peer}` },
      initial: 'up',
      states: { up: { on: { finish: 'over' } }, over: { type: 'final' } },
    }),
    events: { finish: true },
  })

const CASES = (['one-for-one', 'rest-for-one', 'one-for-all'] as const).flatMap((strategy, index) =>
  [0, 1].map((more) => [strategy, (FIRST + 2 * index + more) >>> 0] as const),
)

test.each(CASES)('%s, seed %i', { timeout: 120_000 }, async (strategy, seed) => {
  const draw = drawn(seed)
  const there: There = []
  const network = createMemoryNetwork({ seed, latency: [0, 3] })
  await using peers = await peersOf(network, there)
  const supervisor = await peers.here.supervise({
    name: 'crew',
    strategy,
    intensity: { times: 10_000 },
    backOff: { delay: 5, most: 200 },
    children: CHILDREN.map((id, index) => ({
      id,
      machine: 'probe',
      input: id,
      on: SERVERS.map((_, at) => SERVERS[(at + index) % SERVERS.length]!),
      startWithin: '2s',
      stopWithin: '1s',
    })),
  })
  const done: string[] = []
  try {
    await within('that all are up', supervisor.ready())
    for (let n = 0; n < FAULTS; n++) {
      done.push(await fault(peers.here, supervisor, network, draw))
      await new Promise((resolve) => setTimeout(resolve, draw(2 * SUSPICION)))
    }
    network.heal('here', SERVERS)
    for (const server of SERVERS) network.thaw(server)
    // What was left behind ends as soon as it is reached, or with its session.
    await until('one of each', () => settled(supervisor, there), 20_000)
    await within('its end', supervisor.stop())
    await until('none of any', () => there.length === 0)
  } catch (error) {
    const snapshot = JSON.stringify(supervisor.getSnapshot().children.map(({ id, state, on }) => [id, state, on]))
    throw new Error(`seed ${seed}: ${done.join(', ')}\nthere: ${there.join(' ')}\nknown: ${snapshot}`, { cause: error })
  }
})

async function peersOf(network: MemoryNetwork, there: There): Promise<{ here: Peer } & AsyncDisposable> {
  const make = (name: string, options: PeerOptions): Promise<Peer> =>
    createPeer({ name, transport: memory({ network, name }), heartbeat: 20, suspicion: SUSPICION, ...options })
  const servers = await Promise.all(
    SERVERS.map((name) =>
      make(name, {
        machines: [probe(name, there)],
        policy: { peers: { here: ['connect', 'spawn:probe'] } },
        temporaryLease: 1_500,
      }),
    ),
  )
  const here = await make('here', { policy: { peers: Object.fromEntries(SERVERS.map((name) => [name, []])) } })
  return {
    here,
    async [Symbol.asyncDispose]() {
      await Promise.all([here, ...servers].map((peer) => peer.close()))
    },
  }
}

/** Does one thing, and says what. */
async function fault(
  here: Peer,
  supervisor: Supervisor,
  network: MemoryNetwork,
  draw: (below: number) => number,
): Promise<string> {
  const server = SERVERS[draw(SERVERS.length)]!
  const child = CHILDREN[draw(CHILDREN.length)]!
  const acts: [string, () => void | Promise<void>][] = [
    [`cut ${server}`, () => network.cut('here', server)],
    [`cut ${server}`, () => network.cut('here', server)],
    ['heal', () => network.heal('here', SERVERS)],
    [`lose ${server}`, () => network.lose('here', server)],
    [`freeze ${server}`, () => network.freeze(server)],
    ['thaw', () => SERVERS.forEach((name) => network.thaw(name))],

    [`finish ${child}`, () => finish(here, supervisor, child)],
  ]
  const [name, act] = acts[draw(acts.length)]!
  await act()
  return name
}

/** If it is there, and can be reached. */
async function finish(here: Peer, supervisor: Supervisor, child: string): Promise<void> {
  const { address } = supervisor.getSnapshot().children.find(({ id }) => id === child)!
  if (!address) return
  const ref = await here.ref(address)
  if (ref.state !== 'gone') ref.send({ type: 'finish' })
  // What waits to be sent goes all the same.
  ref[Symbol.dispose]()
}

function settled(supervisor: Supervisor, there: There): boolean {
  const { value, children } = supervisor.getSnapshot()
  const known = children.map(({ id, on }) => `${id}@${on}`)
  return value === 'Running' && there.toSorted().join() === known.toSorted().join()
}

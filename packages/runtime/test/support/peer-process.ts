// A peer in a process of its own: what a server, or somebody's program on another machine, is for a test. It does what
// it is told over Node's IPC and ends when the test does.
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { libp2p } from '@errand/transport/libp2p'
import {
  type ActorAddress,
  type ConnectOptions,
  type Grant,
  type Job,
  type JobRecord,
  type JobSnapshot,
  type Peer,
  type PeerInfo,
  type PeerOptions,
  type ReceiveOptions,
  type Ref,
  type Session,
  type SessionSnapshot,
  type StartOptions,
  type SupervisorOptions,
  type Work,
  createPeer,
} from '../../src/index.ts'
import { sqlite } from '../../src/store/sqlite.ts'
import { type counter, machines } from '../fixtures/machines.ts'

export interface PeerProcessOptions extends Pick<
  PeerOptions,
  'heartbeat' | 'suspicion' | 'lostAfter' | 'temporaryLease' | 'stopGrace'
> {
  name: string
  /** Keeps its key and its address book. */
  home: string
  /** false: no key and no port, for a program that speaks to this machine's daemon only. */
  network: boolean
  /** 0: any. */
  port: number
  /** Where it listens. Default 127.0.0.1. */
  host?: string
  /** Answers on the home's socket, as this machine's daemon does. */
  daemon: boolean
  /** What it is told is on disk in its home. */
  disk?: boolean
  /** It offers the machines of fixtures/machines.ts, or the `machines` of the file of that URL. */
  machines?: boolean | string
}

export type Request = { call: number; command: keyof Commands; args: unknown[] }
export type Reply =
  | { ready: { id: string; addresses: readonly string[] } }
  | { call: number; value: unknown }
  | { call: number; error: Error; code: string | undefined }
  /** One record that `follow` took. */
  | { call: number; record: JobRecord }

export type Commands = ReturnType<typeof commandsOf>

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Actors that are looked at, by their paths. */
const looked = new Map<string, Ref<typeof counter>>()

/** So many calls, the last of each window waited for, and eight windows under way at once. */
async function inWindows(count: number, window: number, call: (last: boolean) => Promise<void> | void): Promise<void> {
  const waited: Promise<void>[] = []
  for (let made = 1; made <= count; made++) {
    const settled = call(made % window === 0 || made === count)
    if (settled && waited.push(settled) > 8) await waited.shift()
  }
  await Promise.all(waited)
}

// What a test may ask of it, in terms of the public API only. Sessions and jobs are named by instanceId.
function commandsOf(peer: Peer, say: (record: JobRecord) => void) {
  const jobOf = async (instanceId: string, session?: string): Promise<Job> =>
    session === undefined ? peer.job(instanceId) : (await peer.session(session)).job(instanceId)
  const plain = (session: Session): SessionSnapshot => session.snapshot
  return {
    jobs: async (): Promise<JobSnapshot[]> => (await peer.jobs()).map((job) => job.snapshot),
    sessions: (on?: string): Promise<readonly SessionSnapshot[]> => peer.sessions(on === undefined ? {} : { on }),
    invite: (options: { grants?: Grant[]; owner?: string } = {}): Promise<string> => peer.invite(options),
    join: (ticket: string): Promise<PeerInfo> => peer.join(ticket),
    connect: async (to: string, options: ConnectOptions = {}): Promise<SessionSnapshot> =>
      plain(await peer.connect(to, options)),
    /** `peer.start`: here, on names (temporary sessions), or on sessions that this peer holds. */
    start: async (
      work: Work,
      options: StartOptions & { on?: string[]; sessions?: string[] } = {},
    ): Promise<JobSnapshot> => {
      const { on = [], sessions = [], ...rest } = options
      const targets = [...on, ...(await Promise.all(sessions.map((session) => peer.session(session))))]
      return (await peer.start(work, targets.length === 0 ? rest : { ...rest, on: targets })).snapshot
    },
    /** `session.start`: a job that lives there. */
    startIn: async (session: string, work: Work, options: StartOptions = {}): Promise<JobSnapshot> =>
      (await (await peer.session(session)).start(work, options)).snapshot,
    /** `session.receive`: the run that was started through `on`, by whomever. */
    takeUp: async (session: string): Promise<JobSnapshot | undefined> =>
      (await (await peer.session(session)).receive())?.snapshot,
    allow: (who: string, grants: Grant[]): Promise<void> => peer.allow(who, grants),
    /** Where its first child is, once all are up. */
    supervise: async (options: SupervisorOptions): Promise<ActorAddress> => {
      const supervisor = await peer.supervise(options)
      await supervisor.ready()
      return supervisor.getSnapshot().children[0]!.address!
    },
    disconnect: async (session: string): Promise<SessionSnapshot> => {
      const held = await peer.session(session)
      await held.disconnect()
      return plain(held)
    },
    /** Receives, tells every record as soon as it has it, then returns them all. */
    follow: async (instanceId: string, options: ReceiveOptions = {}, session?: string): Promise<JobRecord[]> => {
      const records: JobRecord[] = []
      for await (const record of (await jobOf(instanceId, session)).receive(options)) {
        records.push(record)
        say(record)
      }
      return records
    },
    /** Its events, no faster than the actor takes them; how many it has counted then. */
    flood: async (address: ActorAddress, count: number): Promise<number> => {
      using ref = await peer.ref<typeof counter>(address)
      await inWindows(count, 1024, (last) => (last ? ref.tell({ type: 'add', n: 1 }) : ref.send({ type: 'add', n: 1 })))
      const total = await ref.ask<number>({ type: 'total' })
      if (total.outcome !== 'ok') throw total.error
      return total.value
    },
    /** Follows an actor from now on. */
    look: async (address: ActorAddress): Promise<void> => {
      const ref = await peer.ref<typeof counter>(address)
      looked.set(address.path, ref)
      await ref.ready()
    },
    /** What is seen of one that is looked at. */
    seen: async ({ path }: ActorAddress): Promise<number> => looked.get(path)!.getSnapshot().context.count,
    /** Bytes of this process: all of them, and those on the heap when what nobody holds was collected. */
    memory: async (): Promise<{ rss: number; heap: number }> => {
      const { rss } = process.memoryUsage()
      collect()
      const { heapUsed, arrayBuffers } = process.memoryUsage()
      return { rss, heap: heapUsed + arrayBuffers }
    },
    /** Then the process exits at once. */
    close: (): Promise<void> => peer.close(),
    /** Then the process is left to end by itself, as soon as nothing keeps it. */
    leave: (): Promise<void> => peer.close(),
  }
}

const options = JSON.parse(process.argv[2]!) as PeerProcessOptions
const { home, network, port, host = '127.0.0.1', daemon, disk, machines: offers, ...rest } = options
// This program is bundled, and a machine's process imports a file: where it is defined.
const offered =
  typeof offers === 'string' ? ((await import(offers)) as { machines: typeof machines }).machines : machines
const peer = await createPeer({
  ...rest,
  home,
  serveLocal: daemon,
  ...(offers && { machines: offered }),
  ...(disk && { store: sqlite(join(home, 'store.db')) }),
  ...(network && { transport: libp2p({ listen: [`/ip4/${host}/tcp/${port}`], keyFile: join(home, 'key') }) }),
})
const reply = (message: Reply, sent?: () => void): void => void process.send!(message, undefined, undefined, sent)

process.on('message', async ({ call, command, args }: Request) => {
  try {
    const commands = commandsOf(peer, (record) => reply({ call, record }))
    const value = await (commands[command] as (...all: unknown[]) => Promise<unknown>)(...args)
    reply({ call, value }, command === 'close' ? () => process.exit() : undefined)
  } catch (error) {
    // The codes of IPC's copies are lost: only name, message and stack of an Error cross it.
    reply({ call, error: error as Error, code: (error as { code?: string }).code })
  }
  if (command === 'leave') process.disconnect()
})
// The test has ended, in whatever way.
process.on('disconnect', () => void peer.close())
reply({ ready: { id: network ? peer.id : '', addresses: peer.addresses } })

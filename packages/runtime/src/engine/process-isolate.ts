// An isolate that is a child process: its protocol is on a descriptor of its own, its stdout is only data.
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { liesAlone, openPipe, type Channel, type Protocol } from '@errand/transport'
import * as Comlink from 'comlink'
import { noteParts } from '../chunk-memory.ts'
import { asError } from '../errors.ts'
import type { PermissionSpec } from '../wire.ts'
import { isolateEntry, isolateFlags } from './isolate-entry.ts'
import { permissionFlags } from './permission-flags.ts'
import { spawnTree } from './process-tree.ts'
import { outOfMemory, type Isolate, type IsolateEnd, type LaneMessage, type LaneServer, type LaneWire } from './lane.ts'

/** The descriptor of the protocol in the child. */
export const LANE_FD = 3
/** One record, its batch and the frame around them. */
export const LANE: Protocol = { name: '/errand/lane/1', maxFrame: 64 * 1024 * 1024 }

export interface ProcessOptions {
  cwd?: string | undefined
  env?: Record<string, string | undefined> | undefined
  /** What the child serves: one script after another in one runspace, scripts in threads of its own, or one machine. */
  serves: 'scripts' | 'threads' | 'machine'
  /** MiB of heap, then it ends. */
  maxMemory?: number | undefined
  /** All it may do. Default: what this process may. */
  permissions?: PermissionSpec | undefined
}

/** Starts a child process that serves an engine. */
export function startProcess(options: ProcessOptions): Isolate {
  const tree = spawnTree(
    process.execPath,
    [
      ...isolateFlags,
      '--disable-warning=ExperimentalWarning',
      ...(options.maxMemory === undefined ? [] : [`--max-old-space-size=${options.maxMemory}`]),
      ...(options.permissions ? permissionFlags(options.permissions, options.cwd) : []),
      fileURLToPath(isolateEntry(options.serves === 'machine' ? 'machine-entry' : 'process-entry')),
      options.serves,
    ],
    {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    },
  )
  const { child } = tree
  const exit = Promise.withResolvers<IsolateEnd>()
  let killed = false
  child.once('error', (error) => {
    // The system says the same of a missing program and a missing directory.
    const lost = options.cwd !== undefined && !existsSync(options.cwd)
    exit.resolve({ error, ...(lost && { why: `could not start: there is no directory ${options.cwd}` }) })
  })
  child.once('exit', (exitCode, signal) => {
    killed = true
    exit.resolve({ ...(exitCode !== null && { exitCode }), ...(signal && { signal }) })
  })
  let onLine: ((line: string, wrong: boolean) => void) | undefined
  const streams = [child.stdout, child.stderr].filter((stream) => stream !== null)
  // What V8 says before it aborts; nothing else tells that end from another.
  let starved = false
  for (const stream of streams) {
    eachLine(stream, (line) => {
      starved ||= /^FATAL ERROR: .*heap out of memory/.test(line)
      onLine?.(line, stream === child.stderr)
    })
  }
  const pipe = child.stdio[LANE_FD] as Socket | undefined
  const lane = pipe && pipeLane(openPipe(pipe, LANE))
  const drained = lane?.drained ?? Promise.resolve()
  // Without its lane it can do nothing for anybody: broken by the script, or by what it sent.
  void drained.then(() => {
    killed = true
    return tree.end()
  })
  const exited = exit.promise.then(async (how) => {
    // What it had written before it ended is still in the pipe; then its descendants go, and only then it has ended.
    await drained
    await tree.end()
    return starved && how.signal ? { ...how, why: outOfMemory(options.maxMemory) } : how
  })
  const handles = [child, child.stdout, child.stderr, pipe] as unknown as ({ ref(): void; unref(): void } | null)[]
  const hold = (working: boolean): void => {
    for (const handle of handles) {
      if (working) handle?.ref()
      else handle?.unref()
    }
  }
  return {
    server: lane?.server as Isolate['server'],
    wire: lane?.wire ?? { post() {}, receive() {} },
    pid: tree.pid || undefined,
    output: {
      onLine: (take) => (onLine = take),
      pause: () => streams.forEach((stream) => stream.pause()),
      resume: () => streams.forEach((stream) => stream.resume()),
    },
    exited,
    hold,
    suspend: () => tree.suspend(),
    resume: () => tree.resume(),
    get killed() {
      return killed
    },
    kill() {
      killed = true
      hold(true) // whoever ends it waits for its end
      void tree.end()
    },
  }
}

/** A pipe's two kinds of frames: Comlink's messages, and the lane's beside them. */
type Frame = { c: unknown } | { m: readonly LaneMessage[] }

export interface PipeLane {
  server: Comlink.Remote<LaneServer>
  /** For `Comlink.expose` in the child. */
  endpoint: Comlink.Endpoint
  wire: LaneWire
  /** Settles when nothing more comes. Never rejects. */
  drained: Promise<void>
}

/** The lane over a pipe that is being opened; what is said meanwhile waits. */
export function pipeLane(opening: Promise<Channel>): PipeLane {
  let take: ((messages: readonly LaneMessage[]) => void) | undefined
  const early: (readonly LaneMessage[])[] = []
  let waiting: Frame[] | undefined = []
  /** Bytes of links that have not left. */
  let unsent = 0
  let channel: Channel | undefined
  let last: Promise<void> = Promise.resolve()
  // One after the other, as fast as the pipe takes them. A frame that cannot be sent ends the lane, and with it the
  // process: going on without it would lose what it carried.
  const send = (frame: Frame, answers = 0): void => {
    if (waiting) return void waiting.push(frame)
    unsent += answers
    last = last
      .then(() => channel?.send(frame))
      .then(
        () => void (unsent -= answers),
        (error: unknown) => channel?.abort(asError(error)),
      )
  }
  const way: Way = { send: (frame) => send(frame), listeners: new Set() }
  const endpoint = endpointOver(way)
  const drained = (async () => {
    try {
      channel = await opening
      const said = waiting ?? []
      waiting = undefined
      for (const frame of said) send(frame)
      for await (const frame of channel as AsyncIterable<Frame>) {
        if ('c' in frame) for (const listener of [...way.listeners]) listener({ data: frame.c })
        else if (take) {
          for (const message of frame.m) noteParts(message, liesAlone)
          take(frame.m)
        } else early.push(frame.m)
      }
    } catch (error) {
      waiting = undefined
      channel?.abort(asError(error))
    }
    way.send = undefined
    way.listeners.clear()
  })()
  return {
    server: Comlink.wrap<LaneServer>(endpoint),
    endpoint,
    wire: {
      post: (messages) => {
        for (const batch of batches(messages)) send({ m: batch }, linkBytes(batch))
      },
      get waiting() {
        return unsent
      },
      get left() {
        return last
      },
      receive(listener) {
        take = listener
        for (const messages of early.splice(0)) listener(messages)
      },
    },
    drained,
  }
}

interface Way {
  /** None once nothing can be sent any more. */
  send: ((frame: Frame) => void) | undefined
  readonly listeners: Set<(event: { data: unknown }) => void>
}

/**
 * On its own, with nothing of the lane in reach once the way is closed: Comlink keeps it until its proxy is collected, and
 * whoever takes from the lane has that proxy. Both would be kept for good, with the engine and the job behind them.
 */
function endpointOver(way: Way): Comlink.Endpoint {
  return {
    postMessage: (message: unknown) => way.send?.({ c: message }),
    addEventListener: (_: string, listener: (event: { data: unknown }) => void) => way.listeners.add(listener),
    removeEventListener: (_: string, listener: (event: { data: unknown }) => void) => way.listeners.delete(listener),
    start() {},
  } as unknown as Comlink.Endpoint
}

function linkBytes(messages: readonly LaneMessage[]): number {
  let bytes = 0
  for (const message of messages) if (message[0] === 'link') bytes += message[2]?.byteLength ?? 0
  return bytes
}

/** So that a batch of many chunks stays a frame; a larger record goes alone. */
const BATCH_BYTES = 1 << 20

function* batches(messages: readonly LaneMessage[]): Generator<readonly LaneMessage[]> {
  let batch: LaneMessage[] = []
  let bytes = 0
  for (const message of messages) {
    const size = message.reduce((sum: number, part) => sum + (part instanceof Uint8Array ? part.byteLength : 16), 0)
    if (batch.length > 0 && bytes + size > BATCH_BYTES) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(message)
    bytes += size
  }
  if (batch.length > 0) yield batch
}

/** A line longer than this (in characters) is cut into several: binary output has none. */
const LINE_LIMIT = 1 << 20

/** A stream's lines, the last one also without its newline. Bytes that are not UTF-8 become replacement characters. */
export function eachLine(stream: NodeJS.ReadableStream, take: (line: string) => void): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) take(line)
    if (rest.length < LINE_LIMIT) return
    take(rest)
    rest = ''
  })
  stream.on('end', () => {
    if (rest !== '') take(rest)
    rest = ''
  })
  stream.on('error', () => undefined) // its end is what counts
}

// BullMQ over a redis or valkey of its own, which writes nothing to disk: added, worked on, its end waited for.

import { Queue, QueueEvents, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import type { Rival } from './rival.ts'

const QUEUE = 'work'
/** Jobs a worker takes at once: what is asked of it at most. */
const CONCURRENCY = 64
/** A job that is removed at once may be gone before who waits for its end has looked for it. */
const KEPT = 1_000
const LATE_MS = 60_000

export const bullmq: Rival = {
  name: 'BullMQ with redis on loopback in memory, not encrypted',
  broker: {
    programs: ['valkey-server', 'redis-server'],
    hint: 'Debian: apt-get install redis-server',
    arguments: (port, folder) => [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
      ...['--save', '', '--appendonly', 'no', '--daemonize', 'no'],
    ],
    ready: 'Ready to accept connections',
  },

  async serve(broker) {
    const worker = new Worker<{ value?: number }>(
      QUEUE,
      async ({ data: { value } }) => (value === undefined ? undefined : value + 1),
      { connection: connectionTo(broker), concurrency: CONCURRENCY },
    )
    await worker.waitUntilReady()
    return ''
  },

  async connect(_, broker) {
    const connection = connectionTo(broker)
    const queue = new Queue<{ value?: number }>(QUEUE, {
      connection,
      defaultJobOptions: { removeOnComplete: KEPT },
    })
    const events = new QueueEvents(QUEUE, { connection })
    // Whoever waits for a job listens to both.
    for (const one of [queue, events]) one.setMaxListeners(0)
    await Promise.all([queue.waitUntilReady(), events.waitUntilReady()])
    return {
      async call(value) {
        const job = await queue.add('task', value === undefined ? {} : { value })
        return ((await job.waitUntilFinished(events, LATE_MS)) as number | null) ?? undefined
      },
      async [Symbol.asyncDispose]() {
        await Promise.all([queue.close(), events.close()])
        // It was given to them, so they leave it open.
        await connection.quit()
      },
    }
  },
}

function connectionTo(address: string): Redis {
  const [host = '', port] = address.split(':')
  // As a worker, which waits for its next job as long as it takes, has to have it.
  return new Redis(Number(port), host, { maxRetriesPerRequest: null })
}

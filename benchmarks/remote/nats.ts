// NATS: a request and its reply over a server of its own; a stream as a message an item, for it has nothing of that name.

import { type Msg, type NatsConnection, connect } from '@nats-io/transport-node'
import { type Item, type Rival, items } from './rival.ts'

/** It does not hold back who publishes: after so many it is asked whether it has them. */
const UNFLUSHED = 1_000
const LATE_MS = 60_000

export const nats: Rival = {
  name: 'NATS request and reply, not encrypted',
  broker: {
    programs: ['nats-server'],
    hint: 'Debian: apt-get install nats-server',
    arguments: (port) => ['--addr', '127.0.0.1', '--port', String(port)],
    ready: 'Server is ready',
  },

  async serve(broker) {
    const connection = await connect({ servers: broker })
    connection.subscribe('task', {
      callback(error, message) {
        if (error) throw error
        const { value } = message.json<{ value?: number }>()
        message.respond(JSON.stringify(value === undefined ? {} : { value: value + 1 }))
      },
    })
    connection.subscribe('records', {
      callback(error, message) {
        if (error) throw error
        void say(connection, message)
      },
    })
    await connection.flush()
    return ''
  },

  async connect(_, broker) {
    const connection = await connect({ servers: broker })
    return {
      async call(value) {
        const answer = await connection.request('task', JSON.stringify({ value }), { timeout: LATE_MS })
        return answer.json<{ value?: number }>().value
      },
      async records(count, take) {
        const reply = `_INBOX.${crypto.randomUUID()}`
        const said = connection.subscribe(reply)
        connection.publish('records', JSON.stringify({ count }), { reply })
        for await (const message of said) {
          // Nothing in it: that was the last.
          if (message.data.length === 0) break
          take(message.json<Item>())
        }
      },
      [Symbol.asyncDispose]: () => connection.close(),
    }
  },
}

async function say(connection: NatsConnection, order: Msg): Promise<void> {
  const { count } = order.json<{ count: number }>()
  for (const item of items(count)) {
    connection.publish(order.reply!, JSON.stringify(item))
    if (item.id % UNFLUSHED === UNFLUSHED - 1) await connection.flush()
  }
  connection.publish(order.reply!)
}

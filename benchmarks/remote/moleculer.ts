// Moleculer with its own TCP transporter: an action, and one that returns a stream of objects.

import { Readable } from 'node:stream'
import { ServiceBroker } from 'moleculer'
import { type Item, type Rival, freePort, items } from './rival.ts'

/** Both ends have to know the other's port before they start. */
export const moleculer: Rival = {
  name: 'Moleculer over TCP, not encrypted',

  async serve() {
    const [far, near] = [await freePort(), await freePort()]
    const broker = brokerOf('far', far, near)
    broker.createService({
      name: 'work',
      actions: {
        task: ({ params: { value } }: { params: { value?: number } }) => (value === undefined ? undefined : value + 1),
        records: ({ params: { count } }: { params: { count: number } }) => Readable.from(items(count)),
      },
    })
    await broker.start()
    return `${far} ${near}`
  },

  async connect(address) {
    const [far = 0, near = 0] = address.split(' ').map(Number)
    const broker = brokerOf('near', far, near)
    await broker.start()
    await broker.waitForServices('work')
    return {
      call: async (value) => (await broker.call<number | null, object>('work.task', { value })) ?? undefined,
      async records(count, take) {
        const stream = await broker.call<Readable, object>('work.records', { count })
        await new Promise((resolve, reject) => {
          stream
            .on('data', (item: Item) => take(item))
            .on('end', resolve)
            .on('error', reject)
        })
      },
      [Symbol.asyncDispose]: () => broker.stop(),
    }
  },
}

function brokerOf(nodeID: 'far' | 'near', far: number, near: number): ServiceBroker {
  return new ServiceBroker({
    nodeID,
    logger: false,
    transporter: {
      type: 'TCP',
      options: {
        udpDiscovery: false,
        port: nodeID === 'far' ? far : near,
        urls: `127.0.0.1:${far}/far,127.0.0.1:${near}/near`,
      },
    },
  })
}

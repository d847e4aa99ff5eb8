// A worker that posts small records as it is told: how many, and how many in a message.
import { parentPort } from 'node:worker_threads'

export interface Order {
  readonly count: number
  /** 1: each a message of its own. */
  readonly batch: number
}

const port = parentPort!
port.on('message', ({ count, batch }: Order) => {
  let items: object[] = []
  for (let id = 0; id < count; id++) {
    const item = { id, name: 'item-123', ok: true }
    if (batch === 1) port.postMessage(item)
    else if (items.push(item) === batch || id === count - 1) {
      port.postMessage(items)
      items = []
    }
  }
})
port.postMessage('ready')

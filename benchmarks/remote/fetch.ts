// No engine at all: a server of node:http and the platform's fetch, JSON both ways, a stream as a line of JSON an item.

import { once } from 'node:events'
import { createServer } from 'node:http'
import { json } from 'node:stream/consumers'
import { type Item, type Rival, items } from './rival.ts'

/** Lines in one write: what a program that cares would do. */
const LINES = 256

export const bareFetch: Rival = {
  name: 'fetch to a node:http server, not encrypted',

  async serve() {
    const server = createServer(async (request, response) => {
      const { value, count } = (await json(request)) as { value?: number; count?: number }
      response.setHeader('content-type', 'application/json')
      if (count === undefined) {
        response.end(JSON.stringify(value === undefined ? {} : { value: value + 1 }))
        return
      }
      let lines: string[] = []
      for (const item of items(count)) {
        if (lines.push(`${JSON.stringify(item)}\n`) < LINES) continue
        if (!response.write(lines.join(''))) await once(response, 'drain')
        lines = []
      }
      response.end(lines.join(''))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as { port: number }).port}`
  },

  async connect(address) {
    const post = (body: unknown): Promise<Response> =>
      fetch(address, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    return {
      async call(value) {
        const answer = (await (await post({ value })).json()) as { value?: number }
        return answer.value
      },
      async records(count, take) {
        const { body } = await post({ count })
        let rest = ''
        for await (const text of body!.pipeThrough(new TextDecoderStream())) {
          const lines = (rest + text).split('\n')
          rest = lines.pop()!
          for (const line of lines) take(JSON.parse(line) as Item)
        }
      },
      [Symbol.asyncDispose]: async () => {}, // its connections belong to the platform, and are not waited for
    }
  },
}

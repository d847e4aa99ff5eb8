// gRPC for Node: a unary call, and a server stream. As in its own examples: loaded from a .proto, credentials insecure.

import { fileURLToPath } from 'node:url'
import {
  type ClientReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  Server,
  ServerCredentials,
  credentials,
  loadPackageDefinition,
  type sendUnaryData,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { type Item, type Rival, items } from './rival.ts'

interface Value {
  readonly value?: number
}

interface Client {
  task(value: Value, answered: (error: Error | null, answer?: Value) => void): void
  records(order: { count: number }): ClientReadableStream<Item>
  close(): void
}

interface Service {
  new (address: string, insecure: ReturnType<typeof credentials.createInsecure>): Client
  readonly service: Parameters<Server['addService']>[0]
}

const proto = fileURLToPath(new URL('./work.proto', import.meta.url))
const { Work } = loadPackageDefinition(loadSync(proto)) as unknown as { Work: Service }

export const grpc: Rival = {
  name: 'gRPC (@grpc/grpc-js), not encrypted',

  async serve() {
    const server = new Server()
    server.addService(Work.service, {
      task({ request: { value } }: ServerUnaryCall<Value, Value>, answer: sendUnaryData<Value>) {
        answer(null, value === undefined ? {} : { value: value + 1 })
      },
      async records(call: ServerWritableStream<{ count: number }, Item>) {
        for (const item of items(call.request.count)) {
          if (!call.write(item)) await new Promise((resolve) => call.once('drain', resolve))
        }
        call.end()
      },
    })
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      )
    })
    return `127.0.0.1:${port}`
  },

  async connect(address) {
    const client = new Work(address, credentials.createInsecure())
    return {
      call: (value) =>
        new Promise((resolve, reject) => {
          client.task(value === undefined ? {} : { value }, (error, answer) =>
            error ? reject(error) : resolve(answer?.value),
          )
        }),
      records: (count, take) =>
        new Promise((resolve, reject) => {
          client.records({ count }).on('data', take).on('end', resolve).on('error', reject)
        }),
      [Symbol.asyncDispose]: async () => client.close(),
    }
  },
}

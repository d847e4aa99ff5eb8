// The contract once more, where every write takes a while of its own: what memory.test.ts shows without.

import { describe } from 'vitest'
import { memoryCarrier } from './suites/memory-carrier.ts'
import { transportContract } from './suites/transport.suite.ts'

describe('memory, with a latency of its own for every write', () => {
  transportContract(memoryCarrier({ latency: [0, 3], seed: 3 }))
})

import { memoryStore } from '../src/store/memory.ts'
import { storeSuite } from './suites/store.suite.ts'

storeSuite('the memory store', () => memoryStore({ logLimit: 10_000 }))

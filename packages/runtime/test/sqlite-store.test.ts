// A store on disk keeps what it promises: what was accepted, whatever happens to its process, its file or its disk.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'
import { sqlite } from '../src/store/sqlite.ts'
import { storeSuite } from './suites/store.suite.ts'

let folder: string
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'errand-store-'))))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

storeSuite('the store on disk', () => sqlite(join(folder, 'errand.db'), { logLimit: 20_000 }))

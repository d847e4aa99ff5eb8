import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'
import { SlowFirst } from './scripts/slow-first.ts'

// Node keeps what it has compiled, TypeScript too, and knows it again by its content: most of what a test's many processes
// and workers would do is to compile the same files.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/compile', import.meta.url))

// Tests run the workspace's sources: the `source` condition stands first in every exports map.
const conditions = ['source', 'node', 'import', 'default']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // Files start peers and processes of their own, and wait a good deal: for what must not happen, and for clocks.
    maxWorkers: 4,
    sequence: { sequencer: SlowFirst },
    // Isolates and the programs of tests start from bundles of these very sources, made anew where one has changed.
    globalSetup: './scripts/test-setup.ts',
    projects: [
      {
        extends: true,
        test: {
          name: 'errand',
          include: ['packages/*/test/**/*.test.ts', 'examples/**/*.test.ts'],
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
    ],
  },
})

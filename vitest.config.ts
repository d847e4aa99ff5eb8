import { defineConfig } from 'vitest/config'

// Tests run the workspace's sources: the `source` condition stands first in every exports map.
const conditions = ['source', 'node', 'import', 'default']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // Files start peers and processes of their own, and wait a good deal: for what must not happen, and for clocks.
    maxWorkers: 3,
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

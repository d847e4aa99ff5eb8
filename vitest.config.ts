import { fileURLToPath } from 'node:url'
import { configDefaults, defineConfig } from 'vitest/config'
import { SlowFirst } from './scripts/slow-first.ts'

// Node keeps what it has compiled, TypeScript too, and knows it again by its content: most of what a test's many processes
// and workers would do is to compile the same files.
process.env['NODE_COMPILE_CACHE'] ??= fileURLToPath(new URL('node_modules/.cache/compile', import.meta.url))

// Tests run the workspace's sources: the `source` condition stands first in every exports map.
const conditions = ['source', 'node', 'import', 'default']

function tests(names: Record<string, string>): string[] {
  return Object.entries(names).flatMap(([home, all]) =>
    all.split(' ').map((name) => `packages/${home}/test/${name}.test.ts`),
  )
}

// Of these two kinds a worker does one file after the other, and loads the sources once, which for each of them by itself
// is up to half of its work. All others have a process of their own.

// Pure ones: they start nothing, change nothing global, and measure neither memory nor handles.
const PURE = tests({
  cli:
    'actors argv chart complete config dialogue docs exit-codes jobs link-news live manual module-text powershell powershell-cases record render ' +
    'sessions ' +
    'suggestion',
  runtime:
    'actor-inbox actor-names chart child-jobs deadlines history-checker item-stream job-filter job-model kept-actor-model memory-store output-log pairing powershell-doc ' +
    'protocol-doc ref-life script script-scope session-model shared-fate supervisor',
  transport:
    'channel-limits codec codec-chunk codec-interop codec-knots codec-obstacle codec-plain codec-round-trip codec-small ' +
    'codec-tree codec-vectors connections known-addresses lent-memory outbox values-doc',
})

// What these start they end, what they change they put back, and they measure neither memory nor handles.
const SHARED = tests({
  runtime:
    'buffering clock-steps credit dial-out fan-out following groups job-again job-dialogue kept-store link-goodbye link-late ' +
    'links lost-requests machines map map-faults map-items map-peers named-jobs names-policy owners powershell-kinds ' +
    'powershell-remote powershell-start receiving remote-engine requests-again restart restart-remote roaming ' +
    'run-handle seed-asjob seed-detached seed-faults seed-interactive seed-kept seed-kinds seed-values stopping streams ' +
    'supervisor-peers thread-ahead unknown-is-said waiting',
  transport: 'certificate direct-tls-hostile identity libp2p libp2p-peers memory patience pipe socket stream-duplex',
})

// Those that do the same again and again until something shows, or are about what others have made (libp2p's traps, shells,
// service managers, what may be wrong with a machine): a command of their own, `npm run test:long`.
const LONG = [
  'cli/test/completion-shells',
  'cli/test/demo',
  'cli/test/doctor',
  'cli/test/service',
  'runtime/test/actor-flood',
  'runtime/test/actor-refs',
  'runtime/test/records-once',
  'runtime/test/ref-model',
  'runtime/test/restart-killed',
  'runtime/test/restart-model',
  'runtime/test/sqlite-killed',
  'runtime/test/supervisor-faults',
  'runtime/test/supervisor-model',
  'runtime/test/left-behind',
  'transport/test/channel-leaks',
  'transport/test/codec-cost',
  'transport/test/codec-fuzz',
  'transport/test/libp2p-traps',
  'transport/test/memory-latency',
].map((name) => `packages/${name}.test.ts`)

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    // Files start peers and processes of their own, and wait a good deal: for what must not happen, and for clocks.
    maxWorkers: 4,
    sequence: { sequencer: SlowFirst },
    // Isolates and the programs of tests start from bundles of these very sources, made anew where one has changed.
    globalSetup: './scripts/test-setup.ts',
    testTimeout: 30_000,
    hookTimeout: 30_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'errand',
          include: ['packages/*/test/**/*.test.ts', 'examples/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...PURE, ...SHARED, ...LONG],
        },
      },
      { extends: true, test: { name: 'long', include: LONG } },
      { extends: true, test: { name: 'shared', include: SHARED, isolate: false } },
      {
        extends: true,
        test: {
          name: 'pure',
          include: PURE,
          isolate: false,
          // They wait for nothing, so for as many as there are processors; and after the others.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})

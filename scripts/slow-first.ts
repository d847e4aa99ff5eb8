// The order of test files: those that take longest first, so that none of them is alone at the end. vitest knows by itself
// what took long the last time; on a fresh checkout there was none.
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Above ten seconds each, most of it waiting. */
const SLOW = (
  'memory libp2p real-peers libp2p-traps socket seed-faults daemon channel-leaks codec-fuzz named-jobs receiving ' +
  'job-dialogue seed-kinds seed-detached map fan-out libp2p-connections codec-cost isolate-entry'
).split(' ')

export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return sorted.sort((a, b) => rank(a) - rank(b))
  }
}

function rank({ moduleId }: TestSpecification): number {
  const at = SLOW.indexOf(/([^/]*)\.test\.ts$/.exec(moduleId)?.[1] ?? '')
  return at < 0 ? SLOW.length : at
}

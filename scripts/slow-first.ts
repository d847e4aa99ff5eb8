// The order of test files: those that take longest first, so that none of them is alone at the end. vitest knows by itself
// what took long the last time; on a fresh checkout there was none. Those that share processes come last, one behind the
// other: a worker is kept for the next file only where that is one of them, too.
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Above ten seconds each; those that mostly wait and those that mostly work take turns, so that nobody waits for nothing. */
const SLOW = (
  'terminal-watch real-peers terminal-enter machine-process daemon libp2p-traps json-shapes actors-real exit-codes-real ' +
  'supervisor-killed restart-edges thread-reuse foreign-words engine-limits isolate-entry libp2p-connections error-stack ' +
  'codec-cost channel-leaks libp2p socket following memory seed-faults named-jobs map clock-steps job-dialogue receiving ' +
  'owners map-peers powershell-remote seed-detached seed-kept seed-kinds fan-out'
).split(' ')

export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return sorted.sort((a, b) => rank(a) - rank(b))
  }
}

function rank({ moduleId, project }: TestSpecification): number {
  const at = SLOW.indexOf(/([^/]*)\.test\.ts$/.exec(moduleId)?.[1] ?? '')
  return (project.config.isolate ? 0 : SLOW.length + 1) + (at < 0 ? SLOW.length : at)
}

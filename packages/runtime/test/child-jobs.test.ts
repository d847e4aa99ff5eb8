import { describe, expect, it } from 'vitest'
import { foldChildren } from '../src/child-jobs.ts'
import type { JobState } from '../src/surface.ts'

describe('a parent is a fold of its children', () => {
  const cases: [children: JobState[], stopped: boolean, parent: JobState][] = [
    [['Completed', 'Completed'], false, 'Completed'],
    [['Completed', 'Failed', 'Stopped'], true, 'Failed'],
    [['Completed', 'Stopped'], true, 'Stopped'],
    [['Completed', 'Stopped'], false, 'Completed'],
    [['Stopped', 'Stopped'], false, 'Stopped'],
    [['Failed', 'Running'], false, 'Running'],
    [['NotStarted', 'NotStarted'], false, 'Running'],
    [['Running', 'Blocked', 'Completed'], false, 'Blocked'],
    [['Disconnected', 'Completed'], false, 'Disconnected'],
    [['Disconnected', 'Running'], false, 'Running'],
    [['Disconnected', 'Failed'], false, 'Disconnected'],
    [['Running', 'Completed'], true, 'Stopping'],
    [[], false, 'Completed'],
  ]
  for (const [children, stopped, parent] of cases) {
    it(`${children.join(', ') || 'no children'}${stopped ? ', stopped on the parent' : ''}: ${parent}`, () => {
      expect(foldChildren(children, stopped)).toBe(parent)
    })
  }
})

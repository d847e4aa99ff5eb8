// The judge of the fault campaign: made-up histories, true ones that it must let pass and one for each kind of lie.
import { describe, expect, test } from 'vitest'
import type { Entry, Event } from '../campaigns/fixtures/fault-history.ts'
import { check, FINDINGS, type Finding, TRUTH_MS, WINDOW } from '../campaigns/fixtures/history-checker.ts'

/** A history, written as it happens: one millisecond between two entries, unless told otherwise. */
class Story {
  readonly entries: Entry[] = []
  #at = 1_000
  #by = 'client1'

  by(by: string): this {
    this.#by = by
    return this
  }

  after(ms: number): this {
    this.#at += ms
    return this
  }

  note(...events: Event[]): this {
    for (const event of events) this.entries.push({ at: this.#at++, by: this.#by, ...event })
    return this
  }

  started(total?: number): this {
    this.note({ what: 'asked', start: 's' }, { what: 'acknowledged', start: 's', job: 'j' })
    this.note({ what: 'began', start: 's', pid: 1 }, { what: 'state', of: 'j', state: 'Running' })
    return total === undefined ? this : this.note({ what: 'said', start: 's', total })
  }

  /** A reading of these records; where it `ends` in no way its process was killed. */
  read(handle: string, seqs: readonly number[], ends?: 'read' | 'broke', from?: number): this {
    const reader = from === undefined ? 'owner' : 'audit'
    this.note({ what: 'reading', handle, job: 'j', reader, ...(from !== undefined && { from }) })
    for (const seq of seqs) this.note({ what: 'record', handle, seq, kind: 'output', n: seq, is: `text ${seq}` })
    if (ends === 'read') this.note({ what: 'read', handle })
    if (ends === 'broke') this.note({ what: 'broke', handle, code: 'PEER_LOST' })
    return this
  }

  ended(state: 'Completed' | 'Failed' | 'Stopped' = 'Completed'): this {
    return this.note({ what: 'state', of: 'j', state }, { what: 'listed', jobs: ['j'] })
  }

  get findings(): Partial<Record<Finding, readonly string[]>> {
    const { findings } = check(this.entries)
    return Object.fromEntries(FINDINGS.filter((one) => findings[one].length > 0).map((one) => [one, findings[one]]))
  }
}

const story = (): Story => new Story()
const seqs = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n)

describe('what is true is let pass', () => {
  test('a job read to its end, and once more from 0', () => {
    const told = story().started(5).read('a', seqs(0, 5), 'read').ended().read('b', seqs(0, 5), 'read', 0)
    expect(told.findings).toEqual({})
    expect(check(told.entries)).toMatchObject({ starts: 1, records: 10 })
  })

  test('a reader whose process was killed gets the window again, and no more', () => {
    const told = story().started(1_000).read('a', seqs(0, 400)).by('client2')
    expect(told.read('b', seqs(400 - WINDOW, 1_000), 'read').ended().findings).toEqual({})
  })

  test('a reading that was cut off goes on behind the last record', () => {
    expect(story().started(9).read('a', seqs(0, 4), 'broke').read('b', seqs(4, 9), 'read').ended().findings).toEqual({})
  })

  test('a job whose process was killed failed, with what it had said', () => {
    const told = story().started().note({ what: 'hurt', start: 's' }).read('a', seqs(0, 3), 'read').ended('Failed')
    expect(told.read('b', seqs(0, 3), 'read', 0).findings).toEqual({})
  })

  test('a job that was killed when it had just said everything', () => {
    const told = story().started(5).note({ what: 'hurt', start: 's' }).read('a', seqs(0, 3), 'read').ended('Failed')
    expect(told.findings).toEqual({})
  })

  test('a tail that is marked by a gap, once its host has crashed', () => {
    const told = story().started().note({ what: 'crashed' }, { what: 'hurt', start: 's' }).read('a', seqs(0, 3))
    told.note({ what: 'record', handle: 'a', seq: 9, kind: 'gap', dropped: 7 }, { what: 'read', handle: 'a' })
    expect(told.ended('Failed').findings).toEqual({})
  })

  test('what was asked for before its host crashed may have failed, although the answer came afterwards', () => {
    const told = story().note({ what: 'asked', start: 's' }, { what: 'crashed' })
    told.note({ what: 'acknowledged', start: 's', job: 'j' }).read('a', [], 'read')
    expect(told.ended('Failed').findings).toEqual({})
  })

  test('jobs that ended with a session whose lease ran out need not be listed, nor be complete', () => {
    const told = story().started(9).note({ what: 'expired' }).read('a', seqs(0, 3), 'broke')
    expect(told.note({ what: 'state', of: 'j', state: 'Disconnected' }, { what: 'healed' }).findings).toEqual({})
  })

  test('a start that was never acknowledged may be there or not', () => {
    expect(story().note({ what: 'asked', start: 's' }).findings).toEqual({})
    expect(story().note({ what: 'asked', start: 's' }, { what: 'began', start: 's', pid: 1 }).findings).toEqual({})
  })
})

describe('each lie is caught', () => {
  const lies: Record<string, readonly [string, Story]> = {
    'an acknowledged start that is not listed': [
      'lost',
      story()
        .started(1)
        .read('a', [0], 'read')
        .note({ what: 'state', of: 'j', state: 'Completed' }, { what: 'listed', jobs: ['another'] }),
    ],
    'a start that began twice': [
      'doubled',
      story().started(1).note({ what: 'began', start: 's', pid: 2 }).read('a', [0], 'read').ended(),
    ],
    'one start that became two jobs': [
      'doubled',
      story()
        .started(1)
        .note({ what: 'acknowledged', start: 's', job: 'k' })
        .read('a', [0], 'read')
        .note({ what: 'state', of: 'k', state: 'Completed' }, { what: 'state', of: 'j', state: 'Completed' })
        .note({ what: 'reading', handle: 'k', job: 'k', reader: 'owner' })
        .note({ what: 'record', handle: 'k', seq: 0, kind: 'output' }, { what: 'read', handle: 'k' })
        .note({ what: 'listed', jobs: ['j', 'k'] }),
    ],
    'a hole within a reading': [
      'lost',
      story().started(5).read('a', [0, 1, 3, 4], 'read').ended().read('b', seqs(0, 5), 'read', 0),
    ],
    'a hole between two readings': [
      'lost',
      story()
        .started(9)
        .read('a', seqs(0, 4), 'broke')
        .read('b', seqs(5, 9), 'read')
        .ended()
        .read('c', seqs(0, 9), 'read', 0),
    ],
    'a hole before the first record': [
      'lost',
      story().started(3).read('a', [1, 2], 'read').ended().read('b', seqs(0, 3), 'read', 0),
    ],
    'a first record that is missing where it was read from 0': [
      'lost',
      story().started(3).read('a', seqs(0, 3), 'read').ended().read('b', [1, 2], 'read', 0),
    ],
    'a tail that nobody was given': ['lost', story().started(5).read('a', seqs(0, 4), 'read').ended()],
    'a tail that one of two readers was not given': [
      'lost untrue',
      story().started(5).read('a', seqs(0, 5), 'read').ended().read('b', seqs(0, 4), 'read', 0),
    ],
    'a gap where nothing crashed': [
      'lost',
      story()
        .started(2)
        .note({ what: 'reading', handle: 'a', job: 'j', reader: 'owner' })
        .note({ what: 'record', handle: 'a', seq: 0, kind: 'gap', dropped: 1 })
        .note({ what: 'record', handle: 'a', seq: 1, kind: 'output', n: 1, is: 'x' })
        .note({ what: 'read', handle: 'a' })
        .ended(),
    ],
    'a record twice for one handle': ['doubled', story().started(3).read('a', [0, 1, 1, 2], 'read').ended()],
    'a record again for another handle of the same process': [
      'doubled',
      story().started(9).read('a', seqs(0, 4), 'broke').read('b', seqs(3, 9), 'read').ended(),
    ],
    'more than the window again after a crash': [
      'doubled',
      story()
        .started(500)
        .read('a', seqs(0, 400))
        .by('client2')
        .read('b', seqs(399 - WINDOW, 500), 'read')
        .ended(),
    ],
    'two records in the wrong order': ['lost reordered', story().started(4).read('a', [0, 2, 1, 3], 'read').ended()],
    'a record whose number is not the one it was said as': [
      'reordered',
      story()
        .started(1)
        .note({ what: 'reading', handle: 'a', job: 'j', reader: 'owner' })
        .note({ what: 'record', handle: 'a', seq: 0, kind: 'output', n: 1, is: 'text 1' })
        .note({ what: 'read', handle: 'a' })
        .ended(),
    ],
    'a number that is another record the second time': [
      'reordered',
      story()
        .started(1)
        .read('a', [0], 'read')
        .ended()
        .note({ what: 'reading', handle: 'b', job: 'j', reader: 'audit', from: 0 })
        .note({ what: 'record', handle: 'b', seq: 0, kind: 'output', n: 0, is: 'another text' })
        .note({ what: 'read', handle: 'b' }),
    ],
    'observers that do not agree': [
      'untrue',
      story()
        .started(1)
        .read('a', [0], 'read')
        .ended()
        .by('client2')
        .note({ what: 'state', of: 'j', state: 'Stopped' }),
    ],
    'an ending that was taken back': [
      'untrue',
      story().started(1).read('a', [0], 'read').ended().note({ what: 'state', of: 'j', state: 'Running' }),
    ],
    'a job that is Completed and never came to its end': [
      'untrue',
      story().started().read('a', [0], 'read').ended('Completed'),
    ],
    'a job whose end nobody saw': [
      'untrue',
      story()
        .started(1)
        .read('a', [0], 'read')
        .note({ what: 'listed', jobs: ['j'] }),
    ],
    'a history in which nobody looked': [
      'untrue',
      story().started(1).read('a', [0], 'read').note({ what: 'state', of: 'j', state: 'Completed' }),
    ],
    'logs of different lengths': [
      'untrue',
      story()
        .started()
        .note({ what: 'hurt', start: 's' })
        .read('a', seqs(0, 5), 'read')
        .ended('Failed')
        .read('b', seqs(0, 4), 'read', 0),
    ],
    'a job that failed although nothing was done to it': [
      'lost',
      story().started().read('a', [0], 'read').ended('Failed'),
    ],
    'a job that failed behind the crash': [
      'lost',
      story().note({ what: 'crashed' }).started().read('a', [0], 'read').ended('Failed'),
    ],
    'a process that was left': [
      'orphans',
      story()
        .started(1)
        .read('a', [0], 'read')
        .ended()
        .note({ what: 'orphans', processes: ['7 node'] }),
    ],
    'the truth too late': [
      'late',
      story()
        .started(1)
        .note({ what: 'fault', name: 'f' }, { what: 'state', of: 'j', state: 'Disconnected' }, { what: 'healed' })
        .after(TRUTH_MS + 100)
        .note({ what: 'state', of: 'j', state: 'Running' })
        .read('a', [0], 'read')
        .ended(),
    ],
    'the truth never': [
      'late',
      story()
        .started(1)
        .note({ what: 'state', of: 'session', state: 'Opened' }, { what: 'fault', name: 'f' })
        .note({ what: 'state', of: 'session', state: 'Connecting' }, { what: 'healed' })
        .read('a', [0], 'read')
        .ended(),
    ],
    'a job that was hurt and still shows Running': [
      'late',
      story()
        .started()
        .note({ what: 'hurt', start: 's' }, { what: 'fault', name: 'f' }, { what: 'healed' })
        .read('a', [0], 'read')
        .after(TRUTH_MS)
        .ended('Failed'),
    ],
  }

  test.for(Object.entries(lies))('%s', ([, [finding, told]]) => {
    expect(Object.keys(told.findings).join(' ')).toBe(finding)
  })
})

test('times to truth: from the heal to the first state that is one', () => {
  const told = story()
    .started(1)
    .note({ what: 'fault', name: 'f' }, { what: 'state', of: 'j', state: 'Disconnected' })
    .note({ what: 'healed' })
    .after(499)
    .note({ what: 'state', of: 'j', state: 'Running' })
    .read('a', [0], 'read')
    .ended()
  expect(check(told.entries).truths).toEqual([500])
})

test('what other programs had the processors for is not counted as late', () => {
  const told = (waited: number): Story =>
    story()
      .started(1)
      .note({ what: 'fault', name: 'f' }, { what: 'state', of: 'j', state: 'Disconnected' })
      .note({ what: 'waited', ms: 50 }, { what: 'healed' })
      .after(TRUTH_MS + 99)
      .note({ what: 'state', of: 'j', state: 'Running' }, { what: 'waited', ms: 50 + waited })
      .read('a', [0], 'read')
      .ended()
  expect(told(100).findings).toEqual({})
  expect(check(told(100).entries)).toMatchObject({ truths: [TRUTH_MS + 100], ownTruths: [TRUTH_MS] })
  expect(Object.keys(told(99).findings)).toEqual(['late'])
})

test('who had no processor until the next fault is not late, and who had one is', () => {
  const told = (waited: number): Story =>
    story()
      .started(1)
      .note({ what: 'fault', name: 'f' }, { what: 'state', of: 'j', state: 'Disconnected' })
      .note({ what: 'waited', ms: 50 }, { what: 'healed' })
      .note({ what: 'state', of: 'j', state: 'Disconnected' })
      .after(TRUTH_MS + 97)
      .note({ what: 'waited', ms: 50 + waited }, { what: 'fault', name: 'f' }, { what: 'healed' })
      .note({ what: 'state', of: 'j', state: 'Running' })
      .read('a', [0], 'read')
      .ended()
  expect(told(100).findings).toEqual({})
  expect(Object.keys(told(99).findings)).toEqual(['late'])
})

test('who asked only later is not late', () => {
  const told = story().started(1).read('a', [0], 'read').note({ what: 'fault', name: 'f' }, { what: 'healed' })
  told.after(TRUTH_MS + 100).by('client1-asking')
  expect(told.note({ what: 'state', of: 'j', state: 'Completed', asked: true }).findings).toEqual({
    untrue: ['nobody looked which jobs there are in the end'],
  })
})

test('who was dead at the heal need not know', () => {
  const told = story()
    .started(1)
    .note({ what: 'fault', name: 'f' }, { what: 'state', of: 'j', state: 'Disconnected' })
    .by('harness')
    .note({ what: 'healed' })
    .by('client2')
    .note({ what: 'state', of: 'j', state: 'Running' })
    .read('a', [0], 'read')
    .ended()
  expect(told.findings).toEqual({})
})

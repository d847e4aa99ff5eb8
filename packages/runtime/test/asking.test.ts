// One request over several links: what becomes of each kind when its answer is lost, and when its peer was started again.
import { describe, expect, test } from 'vitest'
import { ask } from '../src/asking.ts'
import { codeOf, PeerLostError } from '../src/errors.ts'
import type { Link } from '../src/link.ts'
import { askOver, LinkSessionRef } from '../src/link-session.ts'
import type { SessionSnapshot } from '../src/surface.ts'
import { REPEAT, type WireEvent } from '../src/wire.ts'
import { refusal, within } from './support/peers.ts'

/** A peer through its lives: what it is asked it does, also where its answer is lost. */
class Asked {
  readonly ids: number[] = []
  #life = 1
  #losing: boolean
  link: Link

  constructor(losing: boolean) {
    this.#losing = losing
    this.link = this.next()
  }

  /** It is started again: it remembers nothing. */
  restart(): void {
    this.#life++
  }

  next(): Link {
    const memory = String(this.#life)
    const link = {
      open: true,
      memory,
      client: memory,
      ask: async (_: unknown, __: unknown, { id }: { id: number }) => {
        if (!link.open) throw new PeerLostError('the link ended before')
        this.ids.push(id)
        if (!this.#losing) return 'done'
        this.#losing = false
        link.open = false
        throw new PeerLostError('the answer is lost')
      },
    }
    return (this.link = link as unknown as Link)
  }
}

const types = Object.keys(REPEAT) as WireEvent['type'][]
/** Who asks over several links. */
const ways = {
  'a piece of the runtime': async (asked: Asked, event: WireEvent, between: () => void) => {
    const next = async (ended?: Link): Promise<Link> => {
      if (!ended && asked.link.open) return asked.link
      between()
      return asked.next()
    }
    return (await ask({}, event, { location: 'far', next })).answer
  },
  'a program beside a daemon': (asked: Asked, event: WireEvent, between: () => void) => {
    const line = {
      get link() {
        return asked.link
      },
      instead: async () => {
        between()
        return asked.next()
      },
    }
    return askOver(line, {}, event)
  },
}

describe.each(Object.keys(ways) as (keyof typeof ways)[])('%s asks for', (way) => {
  test.each(types)('%s', async (type) => {
    const event = { type } as WireEvent
    const act = ways[way]

    const lost = new Asked(true)
    expect(await act(lost, event, () => undefined), 'its answer is lost: the same request once more').toBe('done')
    expect(lost.ids).toEqual([lost.ids[0], lost.ids[0]])

    const restarted = new Asked(true)
    const outcome = act(restarted, event, () => restarted.restart())
    if (REPEAT[type] === 'once') {
      expect(codeOf(await refusal('a second time', () => outcome))).toBe('OUTCOME_UNKNOWN')
      expect(restarted.ids, 'its peer was started again: not asked twice').toHaveLength(1)
    } else {
      expect(await outcome).toBe('done')
      expect(restarted.ids).toEqual([restarted.ids[0], restarted.ids[0]])
    }

    const idle = new Asked(false)
    Object.assign(idle.link, { open: false })
    expect(await act(idle, event, () => idle.restart()), 'restarted before it was asked at all').toBe('done')
    expect(idle.ids).toHaveLength(1)
  })
})

test('without another link, its end is the answer', async () => {
  const asked = new Asked(true)
  const outcome = askOver({ link: asked.link }, {}, { type: 'local.status' })
  expect(codeOf(await refusal('asking', () => outcome))).toBe('PEER_LOST')
  expect(asked.ids).toHaveLength(1)
})

test('when nobody waits for the answer any more it is not asked over another link', async () => {
  const asked = new Asked(true)
  const next = async (ended?: Link): Promise<Link> => (ended ? asked.next() : asked.link)
  const outcome = ask({}, { type: 'local.status' }, { location: 'far', next, until: performance.now() })
  expect(codeOf(await refusal('asking', () => outcome))).toBe('TIMEOUT')
  expect(asked.ids, 'there was none at first').toHaveLength(0)

  const there = new Asked(true)
  const once = (ended?: Link): Link => (ended ? there.next() : there.link)
  const lost = ask({}, { type: 'local.status' }, { location: 'far', next: once, until: performance.now() })
  expect(codeOf(await refusal('asking', () => lost))).toBe('PEER_LOST')
  expect(there.ids).toHaveLength(1)
})

test('whoever watches over a link that has ended hears so: a session, and a job', async () => {
  const ended = (_: unknown, __: unknown, lost?: (cause?: Error) => void): (() => void) => {
    queueMicrotask(() => lost?.(undefined))
    return () => undefined
  }
  const link = { open: false, peer: 'local', watch: ended } as unknown as Link
  const ref = new LinkSessionRef({ link }, { instanceId: 'x', state: 'Opened' } as SessionSnapshot)
  const session = Promise.withResolvers<SessionSnapshot>()
  ref.watchSession(session.resolve)
  expect(await within('the session', session.promise)).toMatchObject({ state: 'Broken', availability: 'None' })
  const job = Promise.withResolvers<Error>()
  ref.watchJob('job', () => undefined, job.resolve)
  expect(codeOf(await within('the job', job.promise))).toBe('PEER_LOST')
})

test('leaves at once where there is a link: what is read of a run must not overtake its call', async () => {
  const asked = new Asked(false)
  const answer = askOver(asked, {}, { type: 'run', spec: { kind: 'code', command: '', startId: 'x' } })
  expect(asked.ids).toHaveLength(1)
  expect(await answer).toBe('done')
})

// A ref's life takes the very steps of its statechart.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createActor } from 'xstate'
import { RefLife } from '../src/ref-life.ts'
import { refMachine, type RefActions, type RefMachineEvent } from '../src/ref-machine.ts'

const errors = [new Error('one'), new Error('another')]
const reason = fc.constantFrom(...errors)
const events: fc.Arbitrary<RefMachineEvent> = fc.oneof(
  fc.constantFrom<RefMachineEvent>({ type: 'ref.heard' }, { type: 'ref.moved' }, { type: 'ref.ended' }),
  reason.map((said) => ({ type: 'ref.away' as const, reason: said })),
  fc.constantFrom(undefined, ...errors).map((said) => ({ type: 'ref.ended' as const, reason: said })),
  reason.map((said) => ({ type: 'ref.vacant' as const, reason: said })),
  { weight: 1, arbitrary: reason.map((said) => ({ type: 'ref.refused' as const, reason: said })) },
  { weight: 1, arbitrary: fc.constant<RefMachineEvent>({ type: 'ref.dispose' }) },
)

/** What is asked of it, in order. */
class Host implements RefActions {
  readonly calls: string[] = []
  attach(): void {
    this.calls.push('attach')
  }
  detach(): void {
    this.calls.push('detach')
  }
  release(): void {
    this.calls.push('release')
  }
  conclude(): void {
    this.calls.push('conclude')
  }
}

describe('the life of a ref', () => {
  test('is that of its statechart, whatever happens', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(events, { maxLength: 30 }), (follows, all) => {
        const [host, other] = [new Host(), new Host()]
        const life = new RefLife(host, follows)
        const actor = createActor(refMachine, { input: { host: other, follows } })
        life.start()
        actor.start()
        for (const event of [undefined, ...all]) {
          if (event) {
            life.send(event)
            // After its end XState warns of each.
            if (actor.getSnapshot().status === 'active') actor.send(event)
          }
          const { value, context } = actor.getSnapshot()
          expect([life.state, life.reason, host.calls]).toEqual([value, context.reason, other.calls])
          expect(life.reason).toBe(context.reason)
        }
      }),
    )
  })

  test('what is said within a step comes behind it, and who listens hears of each', () => {
    const told: string[] = []
    const host = new (class extends Host {
      override release(): void {
        super.release()
        life.send({ type: 'ref.away', reason: errors[0]! })
        told.push(`releases ${life.state}`)
      }
    })()
    const life = new RefLife(host, true)
    life.start()
    const unfollow = life.follow(() => told.push(life.state))
    life.send({ type: 'ref.heard' })
    expect(told).toEqual(['releases live', 'live', 'stale'])
    // No news, of which nobody is told.
    life.send({ type: 'ref.away', reason: errors[0]! })
    life.send({ type: 'ref.moved' })
    unfollow()
    life.send({ type: 'ref.dispose' })
    expect(told.slice(3)).toEqual(['connecting'])
  })
})

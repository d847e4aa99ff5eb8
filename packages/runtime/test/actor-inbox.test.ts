// What waits for an actor, and who has sent to it: the bounds, who comes next, and who is forgotten.
import { describe, expect, test } from 'vitest'
import { ActorInbox, INBOX_BYTES } from '../src/actor-inbox.ts'
import { SENDERS_MOST, SENDERS_OF_PEER, Senders, senderOf } from '../src/actor-senders.ts'
import { INBOX_MOST } from '../src/wire.ts'

const some = (count: number, name = 'x', bytes = 1): { name: string; bytes: number }[] =>
  Array.from({ length: count }, () => ({ name, bytes }))

/** Takes so many, and says who they were. */
const taken = (inbox: ActorInbox<{ name: string; bytes: number }>, count: number): string =>
  Array.from({ length: count }, () => inbox.take()?.name ?? '-').join('')

describe('an inbox', () => {
  test('takes as many as it says, and then those that wait, in their order, when half of it is handled', async () => {
    const inbox = new ActorInbox<{ name: string; bytes: number }>()
    expect(inbox.enter(some(INBOX_MOST), undefined)).toBeUndefined()
    const first = inbox.enter(some(256, 'a'), undefined)!
    // There would be room for it before.
    const second = inbox.enter(some(1, 'b'), undefined)!
    const third = inbox.enter(some(256, 'c'), undefined)!
    taken(inbox, INBOX_MOST / 2 - 1)
    expect(inbox.size).toBe(INBOX_MOST / 2 + 1)
    taken(inbox, 1)
    expect(await Promise.all([first, second])).toEqual([true, true])
    expect(inbox.size).toBe(INBOX_MOST / 2 + 257)
    taken(inbox, INBOX_MOST / 2)
    expect(await third).toBe(true)
    expect(taken(inbox, 514)).toBe(`${'a'.repeat(256)}b${'c'.repeat(256)}-`)
  })

  test('is bounded in bytes too; what is larger goes in alone', async () => {
    const inbox = new ActorInbox<{ name: string; bytes: number }>()
    expect(inbox.enter(some(2, 'a', INBOX_BYTES / 2), undefined)).toBeUndefined()
    const next = inbox.enter(some(1, 'b', 1), undefined)!
    const large = inbox.enter(some(1, 'c', 4 * INBOX_BYTES), undefined)!
    expect(taken(inbox, 1)).toBe('a')
    expect(await next).toBe(true)
    expect(taken(inbox, 2)).toBe('ab')
    expect(await large).toBe(true)
    expect(inbox.enter(some(1), undefined)).toBeInstanceOf(Promise)
    expect(taken(inbox, 2)).toBe('cx')
  })

  test('who gives up is not in it, and holds up nobody', async () => {
    const inbox = new ActorInbox<{ name: string; bytes: number }>()
    void inbox.enter(some(INBOX_MOST - 10), undefined)
    const leaving = new AbortController()
    const gone = inbox.enter(some(256, 'a'), leaving.signal)!
    const small = inbox.enter(some(10, 'b'), undefined)!
    leaving.abort(new Error('enough'))
    await expect(gone).rejects.toThrow('enough')
    expect(await small).toBe(true)
    expect(inbox.size).toBe(INBOX_MOST)
  })

  test('whoever is in it has not given up', async () => {
    const inbox = new ActorInbox<{ name: string; bytes: number }>()
    void inbox.enter(some(INBOX_MOST), undefined)
    const leaving = new AbortController()
    const entered = inbox.enter(some(1, 'a'), leaving.signal)!
    taken(inbox, INBOX_MOST / 2)
    leaving.abort(new Error('enough'))
    expect(await entered).toBe(true)
  })

  test('that is closed takes nothing, and who waits hears of it', async () => {
    const inbox = new ActorInbox<{ name: string; bytes: number }>()
    void inbox.enter(some(INBOX_MOST), undefined)
    const waiting = inbox.enter(some(1), undefined)!
    expect(inbox.close()).toHaveLength(INBOX_MOST)
    expect(await waiting).toBe(false)
    expect(await inbox.enter(some(1), undefined)).toBe(false)
    expect([inbox.size, inbox.take()]).toEqual([0, undefined])
  })
})

describe('senders', () => {
  test('are known by the last number that was taken, which never falls', () => {
    const senders = new Senders()
    expect([senders.isNew('a', 0), senders.isNew('a', 1)]).toEqual([false, true])
    senders.took('a', 7)
    expect([senders.isNew('a', 7), senders.isNew('a', 8), senders.isNew('b', 7)]).toEqual([false, true, true])
    senders.took('a', 3)
    expect(senders.isNew('a', 7)).toBe(false)
    expect(new Senders(senders.all()).isNew('a', 7)).toBe(false)
  })

  test('the one that was silent for longest is forgotten', () => {
    const senders = new Senders()
    for (let n = 0; n < SENDERS_MOST; n++) senders.took(senderOf(`peer${n}`, 'a'), 1)
    senders.took(senderOf('peer0', 'a'), 2)
    senders.took(senderOf('one more', 'a'), 1)
    expect(senders.all()).toHaveLength(SENDERS_MOST)
    expect([0, 1, 2].map((n) => senders.isNew(senderOf(`peer${n}`, 'a'), 1))).toEqual([false, true, false])
  })

  test('of a peer that has many, its own', () => {
    const senders = new Senders()
    senders.took(senderOf('other', 'a'), 1)
    senders.took('ours', 1)
    for (let n = 0; n < 3 * SENDERS_MOST; n++) senders.took(senderOf('many', `a\nb${n}`), 1)
    expect(senders.all()).toHaveLength(SENDERS_OF_PEER + 2)
    expect(senders.isNew(senderOf('other', 'a'), 1)).toBe(false)
    expect(senders.isNew('ours', 1)).toBe(false)
    expect(senders.isNew(senderOf('many', `a\nb${3 * SENDERS_MOST - 1}`), 1)).toBe(false)
  })
})

import { describe, expect, it, vi } from 'vitest'
import { KnownAddresses } from '../src/known-addresses.ts'

describe('known addresses', () => {
  it('come with the one that worked last in front, then what the caller says, then hearsay', () => {
    const known = new KnownAddresses()
    known.worked('bob', 'old')
    known.worked('bob', 'new')
    known.heard('bob', ['lan', 'new'])
    expect(known.of('bob', ['given', 'old'])).toEqual({ trusted: ['new', 'old', 'given'], heard: ['lan'] })
    expect(known.of('carol', ['given'])).toEqual({ trusted: ['given'], heard: [] })
  })

  it('forget what was heard when there is newer news, but not what worked', () => {
    const known = new KnownAddresses()
    known.worked('bob', 'home')
    known.heard('bob', ['café'])
    known.heard('bob', ['train'])
    known.heard('bob', [])
    expect(known.of('bob', [])).toEqual({ trusted: ['home'], heard: ['train'] })
  })

  it('are at most 16 of each sort for a peer, and for at most 1000 peers, the last with news', () => {
    const known = new KnownAddresses()
    const many = Array.from({ length: 100 }, (_, index) => `a${index}`)
    for (const address of many) known.worked('bob', address)
    known.heard('bob', many)
    const { trusted, heard } = known.of('bob', [])
    expect(trusted).toEqual(many.slice(84).toReversed())
    expect(heard).toEqual(many.slice(0, 16))
    for (let peer = 0; peer < 1000; peer++) {
      known.worked(`peer ${peer}`, 'x')
      if (peer === 500) known.heard('bob', ['still here'])
    }
    expect(known.of('bob', []).heard).toEqual(['still here'])
    expect(known.of('peer 0', []).trusted).toEqual([])
    expect(known.of('peer 1', []).trusted).toEqual(['x'])
  })

  it('tell who waits for a peer that there is news, once for each, until they stop listening', () => {
    const known = new KnownAddresses()
    const act = vi.fn()
    const stop = known.onNews('bob', act)
    known.heard('carol', ['a'])
    expect(act).not.toHaveBeenCalled()
    known.heard('bob', ['a'])
    known.heard('bob', ['a'])
    expect(act).toHaveBeenCalledTimes(1)
    known.wake('bob')
    expect(act).toHaveBeenCalledTimes(2)
    stop()
    stop()
    known.wake('bob')
    known.heard('bob', ['b'])
    expect(act).toHaveBeenCalledTimes(2)
  })
})

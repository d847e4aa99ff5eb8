import { expect, it } from 'vitest'
import { nearest } from '../src/suggestion.ts'

const words = ['start', 'stop', 'status', 'run', 'receive', 'remove', 'Get-Job', 'session']

it.each([
  ['strat', 'start'],
  ['recieve', 'receive'],
  ['lits', undefined],
  ['get-jbo', 'Get-Job'],
  ['rn', 'run'],
  ['sessions', 'session'],
  ['RUN', 'run'],
  ['frobnicate', undefined],
  ['', undefined],
])('%s: %s', (typed, found) => expect(nearest(typed, words)).toBe(found))

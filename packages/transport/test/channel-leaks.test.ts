// The short form of the campaign `channels`: what 100 opened and closed channels leave behind, on every carrier.

import { expect, test } from 'vitest'
import { leftBehind, openAndClose } from '../campaigns/channels.ts'

test.each(['memory', 'socket', 'libp2p'] as const)(
  '100 channels on %s, ended in every way there is, leave nothing alive',
  async (carrier) => {
    const report = await openAndClose(carrier, 100)
    expect(leftBehind(report)).toEqual([])
    expect(report.before.channels).toBe(2) // the witness's ends: so they are counted
  },
  60_000,
)

// Who is compared. Each is loaded by the process that it has for itself.

import type { Player } from './player.ts'

export const players: Readonly<Record<string, (where: string) => Promise<Player>>> = {
  here: async () => (await import('./errand.ts')).here(),
  there: async (ticket) => (await import('./errand.ts')).there(ticket),
  xstate: async () => (await import('./xstate.ts')).xstate(),
  nact: async () => (await import('./nact.ts')).nact(),
}

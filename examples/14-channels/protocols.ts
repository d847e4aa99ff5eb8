import type { Protocol } from '@errand/transport'

/** What both sides speak, the same at both ends. */
export const protocols: readonly Protocol[] = [
  // Signs of life every half second: a peer that is silent for two is dead, and so are all channels with it.
  { name: '/example/squares/1', maxFrame: 64 * 1024, heartbeat: { interval: 500, suspicion: 2_000 } },
  { name: '/example/secrets/1', maxFrame: 64 * 1024 },
]

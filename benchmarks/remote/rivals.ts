// Who is compared. Each is loaded by who uses it: in the second process that is one of them.

import type { Rival } from './rival.ts'

export const rivals: Readonly<Record<string, () => Promise<Rival>>> = {
  errand: async () => (await import('./errand.ts')).errand,
  grpc: async () => (await import('./grpc.ts')).grpc,
  bullmq: async () => (await import('./bullmq.ts')).bullmq,
  nats: async () => (await import('./nats.ts')).nats,
  moleculer: async () => (await import('./moleculer.ts')).moleculer,
  fetch: async () => (await import('./fetch.ts')).bareFetch,
  echo: async () => (await import('./echo.ts')).echo,
}

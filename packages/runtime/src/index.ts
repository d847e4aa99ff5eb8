// @errand/runtime: peers, sessions, jobs. `./client` is the light half: this machine's daemon from outside.
export { className } from '@errand/transport'
export { isFinished } from './child-jobs.ts'
export { connectLocal, defaultHome, type LocalPeer, type PeerStatus } from './client.ts'
export { milliseconds } from './duration.ts'
export * from './errors.ts'
export { defineJob, isJobDefinition, type JobDescription, type Produced, type Producing } from './job-definition.ts'
export { askOf, reply, tellActor, type From, type MachineActionArgs } from './machine-actions.ts'
export {
  defineMachine,
  isMachineDefinition,
  type DurableOptions,
  type MachineDescription,
} from './machine-definition.ts'
export type { NetworkPurpose } from './network.ts'
export { createPeer, PeerHost, type PeerOptions } from './peer.ts'
export { memoryStore } from './store/memory.ts'
export type { Chunk } from './record.ts'
export type { RowKind, Store, StoredLog, StoredRows } from './store/store.ts'
export type * from './actor-surface.ts'
export type * from './surface.ts'
export { waitAll, waitAny, type Waited, type WaitOptions } from './wait-jobs.ts'

// A group as whoever subscribes to it sees it: folded from the answers of its peer, be that in this process or beside it.
import type { ActorAddress, GroupSnapshot } from './actor-surface.ts'
import type { SetChanges } from './set-feed.ts'

export type GroupPeer = GroupSnapshot['peers'][number]

/** What a peer answers: who came and who left, and all peers where something is new about one. */
export interface GroupChanges extends SetChanges<ActorAddress> {
  readonly peers?: readonly GroupPeer[] | undefined
}

/** Tells one actor from another. */
export function addressKey({ peer, path, epoch }: Pick<ActorAddress, 'peer' | 'path' | 'epoch'>): string {
  return `${peer} ${path} ${epoch}`
}

/** For a handle: the group now, and whenever it has changed; ends when `signal` aborts. @throws what asking throws */
export async function* groupStream(
  ask: (cursor: string | undefined) => Promise<GroupChanges>,
  signal: AbortSignal | undefined,
): AsyncGenerator<GroupSnapshot> {
  const members = new Map<string, ActorAddress>()
  let peers: readonly GroupPeer[] = []
  for (let cursor: string | undefined; !signal?.aborted;) {
    let answer: GroupChanges
    try {
      answer = await ask(cursor)
    } catch (error) {
      if (signal?.aborted) return
      throw error
    }
    cursor = answer.cursor
    if (answer.begins) members.clear()
    for (const address of answer.left) members.delete(addressKey(address))
    for (const address of answer.joined) members.set(addressKey(address), address)
    peers = answer.peers ?? peers
    if (!answer.more) yield Object.freeze({ members: Object.freeze([...members.values()]), peers })
  }
}

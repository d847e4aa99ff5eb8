// The process of one contestant: does what the first process asks for, and says what it took.

import { players } from './players.ts'

/** What it is asked for, and how often. */
export interface Order {
  readonly feat: string
  readonly count: number
}
export type Told = { readonly value: number } | { readonly error: string }

/** What a contestant can do; each is checked before its time counts. */
export interface Player {
  /** So many events to one actor, sent no faster than it takes them, until it has handled the last: events a second. */
  send?(count: number): Promise<number>
  /** So many questions, one after the other: microseconds of the median. */
  ask?(count: number): Promise<number>
  /** So many actors are made, each is sent an event, each is stopped: microseconds an actor. */
  many?(count: number): Promise<number>
  /** So many actors that wait, each has handled an event: KiB an actor. */
  memory?(count: number): Promise<number>
  /** A request that does nothing, over the link that actors elsewhere are asked over: microseconds. */
  ping?(count: number): Promise<number>
  /** Work that does nothing, elsewhere: microseconds. */
  run?(count: number): Promise<number>
}

const [name = '', where = ''] = process.argv.slice(2)
const open = players[name]
if (open === undefined) throw new Error(`no contestant ${name}`)
const player = await open(where)
process.once('disconnect', () => process.exit(0))
process.on('message', async ({ feat, count }: Order) => {
  process.send!(await told(feat as keyof Player, count))
})
process.send!({ value: 0 } satisfies Told)

async function told(feat: keyof Player, count: number): Promise<Told> {
  try {
    const value = await player[feat]?.(count)
    return value === undefined ? { error: `${name} cannot ${feat}` } : { value }
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

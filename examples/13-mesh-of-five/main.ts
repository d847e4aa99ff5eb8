// Five peers, each of which gives work to the four others. One is killed in the middle; a sixth comes late, and takes over
// what the dead one had still to give. Every result comes exactly once.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SIZE, type Result, type Said, type Told } from './member.ts'

/** Tasks of each of the five. */
const EACH = 50
/** Of all of them together: the primes below 5 000 000. */
const PRIMES = 348_513

interface Member {
  readonly name: string
  readonly process: ChildProcess
  readonly ticket: string
}
/** Whose task it was, who did it, what came out. */
const results = new Map<number, { whose: string; by: string; primes: number }>()
/** Tasks that were under way at a peer that is no more. */
let lost = 0
const some = Promise.withResolvers<void>()
const all = Promise.withResolvers<void>()

await using atTheEnd = new AsyncDisposableStack()

/** Starts one in a process of its own. Resolves when it can be met. */
async function start(name: string, pace = 'fast'): Promise<Member> {
  const home = await mkdtemp(join(tmpdir(), `errand-${name}-`))
  const child = fork(join(import.meta.dirname, 'member.ts'), [name, home, pace])
  const exited = once(child, 'exit')
  atTheEnd.defer(async () => {
    if (child.connected) child.disconnect()
    await exited
    await rm(home, { recursive: true, force: true })
  })
  const ticket = Promise.withResolvers<string>()
  child.on('message', (said: Said) => {
    if ('ticket' in said) ticket.resolve(said.ticket)
    else if ('lost' in said) lost++
    else take(name, said)
  })
  void exited.then(([code, signal]) => {
    const error = new Error(`${name} ended with ${String(signal ?? code)}`)
    ticket.reject(error)
    if (signal !== 'SIGKILL') all.reject(error)
  })
  return { name, process: child, ticket: await ticket.promise }
}

function take(whose: string, { task, primes, by }: Result): void {
  if (results.has(task)) throw new Error(`the result of task ${task} came twice`)
  results.set(task, { whose, by, primes })
  if (results.size === EACH) some.resolve()
  if (results.size === 5 * EACH) all.resolve()
}

const tell = (member: Member, told: Told): boolean => member.process.send(told)

/** One more: it meets all that are there, and they meet it. */
function introduce(newcomer: Member, others: readonly Member[]): void {
  for (const other of others) {
    tell(other, { meet: newcomer.ticket })
    tell(newcomer, { meet: other.ticket })
  }
}

const pace: Readonly<Record<string, string>> = { eve: 'slow' }
const names = ['ada', 'bob', 'cyd', 'dan', 'eve', 'fay']
const members = await Promise.all(names.map((name) => start(name, pace[name])))
const fay = members.pop()! // is up, and knows nobody
for (const [index, member] of members.entries()) {
  tell(member, { tasks: Array.from({ length: EACH }, (_, n) => index * EACH + n) })
  introduce(member, members.slice(0, index))
}
console.log(`${members.map(({ name }) => name).join(', ')}: ${EACH} tasks each`)

await Promise.race([some.promise, all.promise])
const dan = members.splice(3, 1)[0]!
// What it said last is heard before its channel is gone.
const gone = Promise.all([once(dan.process, 'exit'), once(dan.process, 'disconnect')])
dan.process.kill('SIGKILL')
await gone
console.log(`${results.size} results are there; dan was killed`)

introduce(fay, members)
const rest = Array.from({ length: EACH }, (_, n) => 3 * EACH + n).filter((task) => !results.has(task))
tell(fay, { tasks: rest })
console.log(`fay comes late, and has ${rest.length} tasks of dan`)
await all.promise

// A row for each that gave work, a column for each that did it.
const row = (cells: readonly (string | number)[]): string => cells.map((cell) => String(cell).padStart(6)).join('')
const count = (whose: string | undefined, by: string | undefined): number =>
  [...results.values()].filter((one) => (whose ?? one.whose) === one.whose && (by ?? one.by) === one.by).length
console.log(`\n${'given by'.padEnd(10)}${row([...names, 'all'])}    (done by)`)
for (const whose of [...names, undefined]) {
  console.log((whose ?? 'all').padEnd(10) + row([...names, undefined].map((by) => count(whose, by))))
}

console.log(`\n${lost} tasks were under way at dan, and were done by others`)
const primes = [...results.values()].reduce((sum, one) => sum + one.primes, 0)
console.log(`${results.size} results, each once: ${primes} primes below ${5 * EACH * SIZE}`)
if (primes !== PRIMES) throw new Error(`there are ${PRIMES}`)

// A set that changes, told to whoever asks what has changed since, in parts. Of each item only the last thing is kept that
// happened to it, and of those that have left no more than there are: then telling the whole set costs no more. So who reads
// slowly, or not at all, costs nothing.

/** Items that came or left, in one answer. */
export const CHANGES_MOST = 1024

/** What has changed, and how to ask for what comes next. */
export interface SetChanges<T> {
  readonly cursor: string
  /** What was known is void: from here on the whole set is told. */
  readonly begins?: true | undefined
  readonly joined: readonly T[]
  /** Some of these may not have been told to have come. */
  readonly left: readonly T[]
  /** What was told so far is no state that there ever was: more follows at once. */
  readonly more?: true | undefined
}

interface Entry<T> {
  readonly item: T
  /** Which change it was, from 1: entries are in that order. */
  readonly number: number
  readonly left: boolean
  /** Something newer has happened to the item. */
  over: boolean
}

/** The cursor of every empty set: it needs nobody to remember it. */
const EMPTY = '0'

export class SetFeed<T> {
  readonly #keyOf: (item: T) => string
  /** Of the time since it was empty last: numbers of another time mean nothing. */
  #name = ''
  #entries: Entry<T>[] = []
  readonly #newest = new Map<string, Entry<T>>()
  #size = 0
  #last = 0
  /** Of those that have left up to here some are not kept. */
  #forgotten = 0

  constructor(keyOf: (item: T) => string) {
    this.#keyOf = keyOf
  }

  get size(): number {
    return this.#size
  }
  /** Entries, also of items that have left or come again. */
  get kept(): number {
    return this.#entries.length
  }

  *[Symbol.iterator](): Generator<T> {
    for (const { item, left, over } of this.#entries) if (!left && !over) yield item
  }

  get(key: string): T | undefined {
    const entry = this.#newest.get(key)
    return entry?.left === false ? entry.item : undefined
  }

  /** False when it is there already. */
  add(item: T): boolean {
    const key = this.#keyOf(item)
    if (this.#newest.get(key)?.left === false) return false
    if (this.#size === 0) this.#name = crypto.randomUUID()
    this.#size++
    this.#put(key, item, false)
    return true
  }

  /** False when it is not there. */
  delete(key: string): boolean {
    const entry = this.#newest.get(key)
    if (entry?.left !== false) return false
    this.#size--
    if (this.#size === 0) this.clear()
    else this.#put(key, entry.item, true)
    return true
  }

  clear(): void {
    this.#entries = []
    this.#newest.clear()
    this.#size = this.#last = this.#forgotten = 0
    this.#name = ''
  }

  /** What has changed behind `cursor`; without one, or where that is kept no more, the whole set. Nothing: undefined. */
  since(cursor: string | undefined): SetChanges<T> | undefined {
    if (this.#size === 0) {
      return cursor === EMPTY ? undefined : { cursor: EMPTY, begins: true, joined: [], left: [] }
    }
    const from = this.#read(cursor)
    if (from?.at === this.#last) return undefined
    const begins = from === undefined
    const [at, began] = from ? [from.at, from.began] : [0, this.#last]
    const joined: T[] = []
    const left: T[] = []
    let told = at
    for (let index = this.#behind(at); index < this.#entries.length; index++) {
      const { item, number, left: gone, over } = this.#entries[index]!
      // Who began later than that was never told that it had come.
      if (over || (gone && number <= began)) continue
      if (joined.length + left.length === CHANGES_MOST) {
        const next = `${this.#name} ${told} ${began}`
        return { cursor: next, ...(begins && { begins }), joined, left, more: true }
      }
      if (gone) left.push(item)
      else joined.push(item)
      told = number
    }
    const next = `${this.#name} ${this.#last} ${this.#last}`
    return { cursor: next, ...(begins && { begins }), joined, left }
  }

  /**
   * `at`: the last change that was told; `began`: the last one before who asks was told anything. Undefined for those of
   * another time, and where something was forgotten that came behind both.
   */
  #read(cursor: string | undefined): { at: number; began: number } | undefined {
    const [name, at, began] = cursor?.split(' ') ?? []
    const from = { at: Number(at), began: Number(began) }
    const fits = name === this.#name && from.at <= this.#last && from.began <= this.#last
    return fits && Math.max(from.at, from.began) >= this.#forgotten ? from : undefined
  }

  /** Where the first entry behind that number is. */
  #behind(number: number): number {
    let [low, high] = [0, this.#entries.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#entries[middle]!.number <= number) low = middle + 1
      else high = middle
    }
    return low
  }

  #put(key: string, item: T, left: boolean): void {
    const before = this.#newest.get(key)
    if (before) before.over = true
    const entry: Entry<T> = { item, number: ++this.#last, left, over: false }
    this.#newest.set(key, entry)
    this.#entries.push(entry)
    const gone = this.#newest.size - this.#size
    if (gone > this.#size) this.#tidy(gone >>> 1)
    else if (this.#entries.length > 2 * this.#newest.size) this.#tidy(0)
  }

  /** Without what is over, and the first so many of those that have left. */
  #tidy(forget: number): void {
    let rest = forget
    this.#entries = this.#entries.filter(({ item, number, left, over }) => {
      if (over) return false
      if (!left || rest === 0) return true
      rest--
      this.#forgotten = number
      this.#newest.delete(this.#keyOf(item))
      return false
    })
  }
}

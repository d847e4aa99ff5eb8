// Key lists of the objects in one chunk. An object with the keys of an earlier one is written as the number of their list
// and its values: half the time to read, two thirds of the bytes.

import { addExtension } from 'cbor-x/index-no-eval'
import { isAwkward, isAwkwardKey } from './codec-plain.ts'
import { RECORD, RECORD_DEFINITION } from './codec-tags.ts'

/**
 * Real records have a handful of shapes; where there are more, each defines a list that nobody uses. With one more than that
 * they all have numbers of their own (RECORD_SHAPES).
 */
const MAX_SHAPES = 64
/** Keys remembered for them. */
const MAX_STEPS = 1024

/** One key of an object after those before it: the way to a shape is looked up key by key, with the keys in hand anyway. */
export class Step {
  readonly key: string
  readonly before: Step | undefined
  /** The number of the list that ends here, in what is written so far; -1 where none does. */
  number = -1
  #next: Step | undefined
  #others: Map<string, Step> | undefined

  constructor(key: string, before: Step | undefined) {
    this.key = key
    this.before = before
  }

  /** The step of this key, when it has been taken before. */
  to(key: string): Step | undefined {
    const next = this.#next
    return next === undefined || next.key === key ? next : this.#others?.get(key)
  }

  add(step: Step): void {
    if (this.#next === undefined) this.#next = step
    else (this.#others ??= new Map()).set(step.key, step)
  }

  keys(): string[] {
    const keys: string[] = []
    if (this.before !== undefined) keys.push(this.key)
    for (let step = this.before; step?.before !== undefined; step = step.before) keys.push(step.key)
    return keys.reverse()
  }
}

/** The shapes of one chunk that is being written. */
export class Shapes {
  root: Step = new Step('', undefined)
  /** Lists defined so far. */
  count = 0
  #steps = 0
  readonly #defined: Step[] = []

  /** Takes the step of a key that has not been taken before; undefined where there are too many, or it is no key for a list. */
  add(from: Step, key: string): Step | undefined {
    if (this.#steps === MAX_STEPS || isAwkwardKey(key) || isAwkward(key)) return undefined
    this.#steps++
    const step = new Step(key, from)
    from.add(step)
    return step
  }

  /** The shape of these keys; undefined where there is none, or so many lists are still to be defined that there are too many. */
  of(keys: readonly string[], expected: number): Step | undefined {
    if (this.count + expected > MAX_SHAPES) return undefined
    let step: Step | undefined = this.root
    for (const key of keys) step = step && (step.to(key) ?? this.add(step, key))
    return step
  }

  /** Nothing repeats: each object defines its own list, which costs more than it saves. */
  get isBarren(): boolean {
    return this.count > MAX_SHAPES || this.#steps === MAX_STEPS
  }

  /** Gives the list that ends at this step a number. */
  define(step: Step): void {
    this.#defined.push(step)
    step.number = this.count++
  }

  /** What was written since there were `count` did not get into the chunk, and with it perhaps definitions. */
  undefine(count: number): void {
    if (this.count === count) return
    for (const step of this.#defined.splice(count)) step.number = -1
    this.count = count
  }
}

/** Stands for a plain object in what cbor-x is given to write. */
export class Shaped {
  readonly shapes: Shapes
  readonly shape: Step
  readonly values: readonly unknown[]
  constructor(shapes: Shapes, shape: Step, values: readonly unknown[]) {
    this.shapes = shapes
    this.shape = shape
    this.values = values
  }
}

// Whether a list is defined is asked when it is written: the order of writing is the order of reading.
let defines = false
addExtension({
  Class: Shaped,
  getTag({ shapes, shape }: Shaped): number {
    defines = shape.number < 0
    if (defines) shapes.define(shape)
    return defines ? RECORD_DEFINITION : RECORD + shape.number
  },
  encode({ shape, values }: Shaped, encode: (value: unknown) => void): void {
    encode(defines ? [RECORD + shape.number, shape.keys(), ...values] : values)
  },
} as unknown as Parameters<typeof addExtension>[0])

/** So often a list is used before its objects are copies of one. */
const FEW_USES = 16
/**
 * Copying an object that has all its keys and setting them is faster than adding them one by one, for as long as the engine
 * sees no more than four forms there: then it looks up each, and takes three times as long. So these are for good.
 */
const MODELS = 4
/** With more keys an object is a table, which is copied no faster than it is made. */
const MODEL_KEYS = 128
/** Foreign keys that are kept are short. */
const MODEL_KEY_LENGTH = 64
const models: { readonly keys: readonly string[]; readonly object: object }[] = []

function modelOf(keys: readonly string[]): object | undefined {
  const made = models.find(
    (model) => model.keys.length === keys.length && model.keys.every((key, i) => key === keys[i]),
  )
  if (made !== undefined) return made.object
  if (models.length === MODELS || keys.length > MODEL_KEYS || keys.some((key) => key.length > MODEL_KEY_LENGTH)) {
    return undefined
  }
  const object: object = Object.fromEntries(keys.map((key) => [key, undefined]))
  models.push({ keys, object })
  return object
}

/** The keys of a shape that is being read, and the object that is made of them and values. */
export class KeyList {
  /** 0..255 */
  readonly number: number
  readonly keys: readonly string[]
  #model: object | undefined
  #uses = 0

  constructor(number: number, keys: readonly string[]) {
    this.number = number
    this.keys = keys
  }

  /** An object of these keys and the values from `from` on. */
  object(values: readonly unknown[], from: number): object {
    const { keys } = this
    const object: Record<string, unknown> = this.#model === undefined ? {} : { ...this.#model }
    for (let i = 0; i < keys.length; i++) object[keys[i]!] = values[from + i]
    if (++this.#uses === FEW_USES) this.#model = modelOf(keys)
    return object
  }
}

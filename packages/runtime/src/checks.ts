// Whether a value that comes from outside, from another peer or from the disk, is of the form that it should have. Composed
// by whoever knows the form: wire.ts, stored-job.ts, stored-session.ts.

export type Check = (value: unknown) => boolean

export const text: Check = (value) => typeof value === 'string'
export const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0
export const flag: Check = (value) => typeof value === 'boolean'
export const record: Check = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
export const list =
  (each: Check, most: number = Number.POSITIVE_INFINITY): Check =>
  (value) =>
    Array.isArray(value) && value.length <= most && value.every(each)
export const oneOf =
  (...words: unknown[]): Check =>
  (value) =>
    words.includes(value)
export const maybe =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)
/** Every key is known and fits; unknown keys are a later version's and are let through unread. */
export const shape = (fields: Record<string, Check>): Check => {
  const checks = Object.entries(fields)
  return (value) => record(value) && checks.every(([key, check]) => check((value as Record<string, unknown>)[key]))
}

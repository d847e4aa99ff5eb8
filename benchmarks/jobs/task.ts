// What the pools run, in the forms they ask for: piscina and tinypool call a module's functions by name, workerpool and
// poolifier are given them (workerpool-task.ts, poolifier-task.ts).

export type Task = keyof typeof tasks

export function empty(): void {}

/** That every input was there, once. */
export function echo(input: number): number {
  return input
}

export const tasks = { empty, echo }

// Inputs and outputs of maps.

/** 0 to count - 1. */
export const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/** The numbers among these values, smallest first. */
export function orderedNumbers(values: readonly unknown[]): number[] {
  return values.filter((value) => typeof value === 'number').toSorted((a, b) => a - b)
}

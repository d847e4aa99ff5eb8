// What `--check` holds the store to.

export const targets: Readonly<Record<string, { readonly ratio: number } | { readonly most: number }>> = {
  'durable-start-c64': { ratio: 0.3 },
  'durable-records': { ratio: 1 },
  // Milliseconds.
  'log-seek': { most: 50 },
}

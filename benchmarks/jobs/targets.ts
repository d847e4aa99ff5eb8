// What `--check` holds jobs to: the ratios they were built for, by case.

export const targets: Readonly<Record<string, { readonly ratio: number }>> = {
  // At most twice as long.
  'thread-run-empty': { ratio: 0.5 },
  'thread-start-empty': { ratio: 0.4 },
  'map-100k-empty': { ratio: 3 },
  // At most 200 MiB.
  'map-1m-memory': { ratio: 1 },
  'thread-records': { ratio: 1.5 },
  // At most a quarter of the time.
  'process-first-record': { ratio: 4 },
  'process-records': { ratio: 3 },
  // At most one and a half times what they cost with 100 jobs.
  'table-100k-list': { ratio: 1 / 1.5 },
  'table-100k-start': { ratio: 1 / 1.5 },
  'table-100k-receive': { ratio: 1 / 1.5 },
}

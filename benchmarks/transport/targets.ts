// What `--check` holds the transport to: the figures it was built for.

/** By case: `ratio` at least, or our own figure at most (in the case's unit). */
export const targets: Readonly<Record<string, { readonly ratio: number } | { readonly most: number }>> = {
  'bulk-1MiB': { ratio: 0.8 },
  'stack-bulk': { ratio: 2 },
  // At most one and a half times as long.
  'rtt-small': { ratio: 1 / 1.5 },
  'requests-128': { ratio: 0.5 },
  'oneway-100B': { ratio: 5 },
  'ping-under-bulk': { most: 3 },
  'codec-rows-plain': { ratio: 0.8 },
  'codec-rows-dates': { ratio: 1.5 },
}

// What `--check` holds actors to: the figures they were built for.

/** By case: `ratio` at least, our own figure at most or at least (in the case's unit); with two of them either will do. */
export const targets: Readonly<
  Record<string, { readonly ratio: number; readonly least?: number } | { readonly most: number }>
> = {
  // Half of XState's own rate, or 200 000 a second, whichever is less.
  'actors-send-remote': { ratio: 0.5, least: 200_000 },
  // At most 1.3 times as long.
  'actors-ask-remote': { ratio: 1 / 1.3 },
  // At most one and a half times as much.
  'actors-10000': { ratio: 1 / 1.5 },
  'actors-flood-control': { most: 250 },
  'actors-flood-memory': { most: 64 },
}

// What `--check` holds the command line to: at most so many times a Node that does nothing.

export const targets: Readonly<Record<string, { readonly ratio: number }>> = {
  'cli-help': { ratio: 1 / 3 },
  'cli-list': { ratio: 1 / 5 },
  // Somebody has pressed Tab.
  'cli-complete': { ratio: 1 / 5 },
}

// What `--check` holds remote work to: the ratios it was built for, by case.

export const targets: Readonly<Record<string, { readonly ratio: number }>> = {
  'remote-run-empty': { ratio: 2 },
  'remote-run-empty-bullmq': { ratio: 4 },
  // At most 1.3 times as long, and at most three times: neither encrypts nor isolates.
  'remote-run-empty-nats': { ratio: 1 / 1.3 },
  'remote-run-empty-moleculer': { ratio: 1 / 3 },
  'remote-jobs-c64': { ratio: 1.5 },
  'remote-jobs-c64-fetch': { ratio: 1.5 },
  'remote-jobs-c64-bullmq': { ratio: 2 },
  'remote-records': { ratio: 4 },
}

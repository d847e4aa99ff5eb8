// Writing a job's records to a file on the job's own peer.
import { open } from 'node:fs/promises'
import { inspect } from 'node:util'
import type { JobRecord } from './surface.ts'

/** Writes records to `path` (made or replaced, mode 0600) as they come. The file is whole or an error is thrown. */
export async function saveRecords(
  path: string,
  records: AsyncIterable<JobRecord>,
  format: 'text' | 'ndjson' = 'text',
): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    // Also one that was there before, with other rights.
    await file.chmod(0o600)
    for await (const record of records) {
      const line = format === 'ndjson' ? jsonLine(record) : textOf(record)
      if (line !== undefined) await file.write(`${line}\n`)
    }
    await file.sync()
  } finally {
    await file.close()
  }
}

/** As it would be shown: outputs and what was printed; other streams with their name in front. */
function textOf(record: JobRecord): string | undefined {
  switch (record.kind) {
    case 'output':
    case 'information':
      return show(record.value)
    case 'error':
      return `ERROR: ${record.error.message}`
    case 'progress':
      return undefined
    case 'gap':
      return `(${record.dropped} records lost)`
    default:
      return `${record.kind.toUpperCase()}: ${show(record.value)}`
  }
}

function show(value: unknown): string {
  return typeof value === 'string' ? value : inspect(value, { depth: 8, breakLength: 120, maxArrayLength: null })
}

/** What JSON lacks is tagged, as on the command line (docs: design of the CLI, Streams). */
function jsonLine(record: JobRecord): string {
  return JSON.stringify(record, (_, value: unknown) => {
    if (typeof value === 'bigint') return { $bigint: String(value) }
    if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') }
    if (value instanceof Map) return { $map: [...value] }
    if (value instanceof Set) return { $set: [...value] }
    if (Error.isError(value)) return Object.assign({}, value, { name: value.name, message: value.message })
    return value
  })
}

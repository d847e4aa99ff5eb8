// Writing a job's records to a file on the job's own peer.
import { open, type FileHandle } from 'node:fs/promises'
import { inspect } from 'node:util'
import { asError, UsageError } from './errors.ts'
import { jobHandle } from './job-handle.ts'
import { jsonError, jsonValue } from './json-value.ts'
import type { SessionRef } from './session-ref.ts'
import type { JobRecord, JobSnapshot, Kind } from './surface.ts'
import type { SessionEvent } from './wire.ts'

/**
 * As `save` asks: what `receive` would give, to a file. The cursor moves behind what was written.
 * @throws UsageError when the file cannot be written; `where` is the peer it is on
 */
export async function saveJob(
  ref: SessionRef,
  job: JobSnapshot,
  event: Extract<SessionEvent, { type: 'save' }>,
  where: string,
): Promise<void> {
  const { reader, from, follow, location, recurse } = event.read
  const records = jobHandle(ref, job).receive({
    reader,
    ...(from !== undefined && { from }),
    ...(follow !== undefined && { follow }),
    ...(location !== undefined && { location }),
    ...(recurse !== undefined && { recurse }),
    ...(event.keep && { keep: true }),
    ...(event.kinds && { kinds: [...event.kinds] as Kind[] }),
    ...(event.limit !== undefined && { limit: event.limit }),
  })
  try {
    await saveRecords(event.path, records, event.format)
  } catch (error) {
    const cause = asError(error)
    throw new UsageError(`cannot write ${event.path} on ${where}: ${cause.message}`, { cause })
  }
}

/**
 * Writes records to `path` (made or replaced, mode 0600) as they come. The file is whole or an error is thrown; the record
 * that could not be written is then not taken.
 */
export async function saveRecords(
  path: string,
  records: AsyncIterable<JobRecord>,
  format: 'text' | 'ndjson' = 'text',
): Promise<void> {
  const file = await open(path, 'w', 0o600)
  try {
    // Also one that was there before, with other rights.
    await file.chmod(0o600)
    await writeAll(file, records[Symbol.asyncIterator](), format)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Not a `for await`: leaving one says that its last record was taken. */
async function writeAll(
  file: Pick<FileHandle, 'write'>,
  records: AsyncIterator<JobRecord>,
  format: 'text' | 'ndjson',
): Promise<void> {
  for (let step = await records.next(); !step.done; step = await records.next()) {
    try {
      const line = format === 'ndjson' ? jsonLine(step.value) : textOf(step.value)
      if (line !== undefined) await file.write(`${line}\n`)
    } catch (error) {
      await records.throw?.(error)
      throw error
    }
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

function jsonLine(record: JobRecord): string {
  return JSON.stringify({
    ...record,
    ...('value' in record && { value: jsonValue(record.value) }),
    ...(record.kind === 'error' && { error: jsonError(record.error) }),
  })
}

// Writing a job's records to a file on the job's own peer.
import { open, type FileHandle } from 'node:fs/promises'
import { inspect } from 'node:util'
import { asError, UsageError } from './errors.ts'
import { jobHandle } from './job-handle.ts'
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
    ...('value' in record && { value: tagged(record.value) }),
    ...(record.kind === 'error' && { error: errorFields(record.error, []) }),
  })
}

/** What JSON lacks is an object with one field that says what it is, as on the command line. */
function tagged(value: unknown, above: readonly object[] = []): unknown {
  switch (typeof value) {
    case 'bigint':
      return { $bigint: String(value) }
    case 'number':
      if (Object.is(value, -0)) return { $number: '-0' }
      return Number.isFinite(value) ? value : { $number: String(value) }
    case 'undefined':
      return { $undefined: true }
    case 'object':
      return value === null ? null : taggedObject(value, above)
    default:
      return typeof value === 'string' || typeof value === 'boolean' ? value : String(value)
  }
}

function taggedObject(value: object, above: readonly object[]): unknown {
  // What travels is at most 64 deep.
  const depth = above.indexOf(value)
  if (depth >= 0) return { $circular: above.length - depth }
  const inner = [...above, value]
  const each = (item: unknown): unknown => tagged(item, inner)
  if (Array.isArray(value)) return Array.from(value, each)
  if (value instanceof Date) return { $date: Number.isNaN(value.getTime()) ? null : value.toISOString() }
  if (value instanceof Map) return { $map: [...value].map(([key, item]) => [each(key), each(item)]) }
  if (value instanceof Set) return { $set: [...value].map(each) }
  if (value instanceof RegExp) return { $regexp: String(value) }
  if (value instanceof URL) return { $url: value.href }
  if (value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString('base64') }
  if (ArrayBuffer.isView(value))
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') }
  if (Error.isError(value)) return { $error: errorFields(value, above) }
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [key, each(item)])
  // One that could be taken for a tag.
  return entries.length === 1 && entries[0]![0].startsWith('$') ? { $object: entries } : Object.fromEntries(entries)
}

/** Without its stack, which is for people. */
function errorFields(error: unknown, above: readonly object[]): unknown {
  if (!Error.isError(error)) return tagged(error, above)
  if (above.includes(error)) return { name: 'Error', message: '[circular]' }
  const { name, message, code, cause, errors, stack: _, ...own } = error as Error & Record<string, unknown>
  const inner = [...above, error]
  return {
    name,
    message,
    ...(code !== undefined && { code: tagged(code, inner) }),
    ...(tagged(own, inner) as object),
    ...(cause !== undefined && { cause: errorFields(cause, inner) }),
    ...(Array.isArray(errors) && { errors: errors.map((one) => errorFields(one, inner)) }),
  }
}

// How jobs look: errand's table and PowerShell's.
import type { JobSnapshot } from '@errand/runtime/client'
import { table, type Column, type TableStyle } from './table.ts'

/** How its table calls it: `3`, or `3.1` for a child. */
export function jobId(job: JobSnapshot): string {
  return job.position === undefined ? String(job.id) : `${job.parentId ?? job.id}.${job.position}`
}

/** A row: a job, and where its table is when several are shown. */
export interface JobRow {
  readonly job: JobSnapshot
  readonly at?: string | undefined
}

const COLUMNS: readonly Column[] = [
  { title: 'ID' },
  { title: 'NAME' },
  { title: 'TYPE' },
  { title: 'STATE' },
  { title: 'MORE' },
  { title: 'LOCATION' },
  { title: 'COMMAND' },
]

/** `ID NAME TYPE STATE MORE LOCATION COMMAND`; with several tables the first column says whose. */
export function jobTable(rows: readonly JobRow[], style: Pick<TableStyle, 'columns' | 'title'> = {}): string {
  const several = rows.some(({ at }) => at !== undefined)
  const cells = rows.map(({ job, at }) => {
    const own = [jobId(job), job.name, job.type, job.state, yesNo(job.hasMoreData), job.location, job.command]
    return several ? [at ?? '', ...own] : own
  })
  return table(several ? [{ title: 'AT' }, ...COLUMNS] : COLUMNS, cells, { ...style, gap: '  ' })
}

// Columns and widths of PowerShell's own format for jobs.
const POWERSHELL: readonly Column[] = [
  { title: 'Id', width: 6 },
  { title: 'Name', width: 15 },
  { title: 'PSJobTypeName', width: 15 },
  { title: 'State', width: 13 },
  { title: 'HasMoreData', width: 15 },
  { title: 'Location', width: 20 },
  { title: 'Command', width: 25 },
]

/** As Get-Job prints it: fixed widths, longer cells cut. */
export function powershellJobTable(rows: readonly JobRow[]): string {
  const cells = rows.map(({ job, at }) => [
    jobId(job),
    job.name,
    job.type,
    job.state,
    job.hasMoreData ? 'True' : 'False',
    at ?? job.location,
    job.command,
  ])
  return table(POWERSHELL, cells, { gap: ' ', ruled: true })
}

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no'
}

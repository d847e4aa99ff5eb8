// How sessions look: errand's table and PowerShell's.
import type { SessionSnapshot } from '@errand/runtime/client'
import { iso } from './json.ts'
import { table, type Column, type TableStyle } from './table.ts'

const COLUMNS: readonly Column[] = [
  { title: 'ID' },
  { title: 'NAME' },
  { title: 'STATE' },
  { title: 'AVAILABILITY' },
  { title: 'JOBS' },
  { title: 'TRANSPORT' },
  { title: 'EXPIRES' },
  { title: 'LOCATION' },
]

export function sessionTable(
  sessions: readonly SessionSnapshot[],
  style: Pick<TableStyle, 'columns' | 'title'> = {},
): string {
  const cells = sessions.map((session) => [
    String(session.id),
    session.name,
    session.state,
    session.availability,
    String(session.jobs),
    session.transport,
    iso(session.expiresAt) ?? '-',
    session.location,
  ])
  return table(COLUMNS, cells, { ...style, gap: '  ' })
}

// Columns and widths of PowerShell's own format for sessions.
const POWERSHELL: readonly Column[] = [
  { title: 'Id', width: 3, align: 'right' },
  { title: 'Name', width: 15 },
  { title: 'Transport', width: 9 },
  { title: 'ComputerName', width: 15 },
  { title: 'ComputerType', width: 15 },
  { title: 'State', width: 13 },
  { title: 'ConfigurationName', width: 20 },
  { title: 'Availability', width: 13, align: 'right' },
]

/** As Get-PSSession prints it: fixed widths, longer cells cut. */
export function powershellSessionTable(sessions: readonly SessionSnapshot[]): string {
  const cells = sessions.map((session) => [
    String(session.id),
    session.name,
    session.transport,
    session.location,
    session.computerType,
    session.state,
    session.configurationName,
    session.availability,
  ])
  return table(POWERSHELL, cells, { gap: ' ', ruled: true })
}

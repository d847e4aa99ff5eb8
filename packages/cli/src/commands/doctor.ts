// errand doctor: what may be wrong, and what to do about it.
import type { Context } from '../context.ts'
import { examine, type Finding } from '../doctor.ts'
import { EXIT } from '../exit-codes.ts'
import { pick } from '../render/json.ts'
import { pad, printable, widthOf } from '../render/table.ts'

const STYLE = { ok: 'green', warn: 'yellow', FAIL: 'red' } as const

export default async function doctor(context: Context): Promise<number> {
  const { terminal, json, quiet, home, signal } = context
  const findings = await examine({ home, signal })
  if (json !== undefined) {
    await terminal.out(`${JSON.stringify(findings.map((one) => pick({ ...one }, json)))}\n`)
  } else {
    // Names, grants and reasons in them are the other peers' words.
    const shown = findings
      .filter(({ status }) => !quiet || status !== 'ok')
      .map((one) => ({ ...one, check: printable(one.check), message: printable(one.message) }))
    const width = Math.max(0, ...shown.map(({ check }) => widthOf(check)))
    const line = ({ check, status, message, hint }: Finding): string =>
      `${terminal.data(STYLE[status], status.padEnd(4))}  ${pad(check, width)}  ${message}\n` +
      (hint === null ? '' : `${' '.repeat(width + 8)}${terminal.data('dim', printable(hint))}\n`)
    await terminal.out(shown.map(line).join(''))
  }
  return findings.some(({ status }) => status === 'FAIL') ? EXIT.failed : EXIT.done
}

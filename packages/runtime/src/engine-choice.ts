// In what kind of isolate work runs, and what of it can be asked for together.
import { UsageError } from './errors.ts'
import type { WorkSpec } from './wire.ts'

type EngineName = NonNullable<WorkSpec['engine']> | 'machine'

/**
 * A job gets a process, a run (`listed` false) its session's runspace: unless it says otherwise, or asks for limits, which
 * an isolate has from its start. Asked by whoever hosts the work, of whatever came. @throws UsageError
 */
export function engineOf(work: WorkSpec, listed: boolean): EngineName {
  const { kind, engine, maxMemory, permissions, init, map } = work
  if (kind === 'machine') return machineEngine(work, listed)
  const limited = maxMemory !== undefined || permissions !== undefined
  if (kind === 'command') {
    if (limited || init) {
      const what = init ? 'init' : permissions ? 'permissions' : 'maxMemory'
      throw new UsageError(`\`${what}\` is for scripts: a command is a program of its own`, {
        hint: 'limit it by the means of its system: ulimit, systemd-run',
      })
    }
  } else if (kind === 'job' && init)
    throw new UsageError('`init` is for scripts that are sent: a named job is one whole')
  if (permissions && (engine ?? 'process') !== 'process') {
    const where = map ? 'a map runs in threads' : `with engine '${engine}' there is none`
    throw new UsageError(`\`permissions\` are those of a process of its own, and ${where}`)
  }
  if (maxMemory !== undefined && engine === 'runspace') {
    throw new UsageError(
      '`maxMemory` is the limit of a thread or process of its own; the runspace is shared by all runs',
    )
  }
  return engine ?? (listed || limited ? 'process' : 'runspace')
}

/** A machine brings all that it needs with it, and runs where it is offered. @throws UsageError */
function machineEngine(work: WorkSpec, listed: boolean): EngineName {
  if (!listed) throw new UsageError('a machine is spawned, not run: it is a job', { hint: 'session.spawn' })
  const odd = MACHINE_NOT.find((field) => work[field] !== undefined)
  if (odd === undefined) return 'machine'
  throw new UsageError(`\`${odd}\` is not for a machine: it runs as its peer offers it`)
}

const MACHINE_NOT = ['engine', 'cwd', 'env', 'init', 'maxMemory', 'permissions', 'map', 'input'] as const

// Start-Process: a program that is nobody's job. Not listed, not stopped, survives whoever launched it.
import { spawn } from 'node:child_process'
import { startError } from './engine/command-start.ts'
import { MARK } from './engine/process-tree.ts'

/** An environment for what must not end with the job (or daemon) that starts it. */
export function unmarked(env: Record<string, string | undefined>): Record<string, string | undefined> {
  return { ...env, [MARK]: undefined }
}

/** @throws CommandStartError */
export async function launch(
  argv: readonly string[],
  options: { cwd?: string | undefined; env?: Record<string, string | undefined> | undefined },
): Promise<{ pid: number }> {
  const [file = '', ...args] = argv
  // Without the mark neither the reaper nor a job's stop finds it.
  const env = unmarked({ ...process.env, ...options.env })
  const child = spawn(file, args, { cwd: options.cwd, env, detached: true, stdio: 'ignore' })
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (cause) => reject(startError(file, options.cwd, cause)))
  })
  child.unref()
  return { pid: child.pid! }
}

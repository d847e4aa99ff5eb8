// Why a program did not begin, from what the system says of it.
import { existsSync } from 'node:fs'
import { asError, CommandStartError } from '../errors.ts'

/** There is none, it is no program, or something else was missing. `thrown`: what `spawn` said. */
export function startError(file: string, cwd: string | undefined, thrown: unknown): CommandStartError {
  const cause = asError(thrown) as NodeJS.ErrnoException
  // The system says the same of a missing program and a missing directory.
  if (cwd !== undefined && !existsSync(cwd))
    return new CommandStartError('COMMAND_NOT_STARTED', `there is no directory ${cwd} to run ${file} in`, { cause })
  if (cause.code === 'EACCES' || cause.code === 'ENOEXEC')
    return new CommandStartError('COMMAND_NOT_EXECUTABLE', `${file} is not executable`, { cause })
  if (cause.code === 'ENOENT')
    return new CommandStartError('COMMAND_NOT_FOUND', `${file}: command not found`, { cause })
  return new CommandStartError('COMMAND_NOT_STARTED', `${file} could not be started: ${cause.message}`, { cause })
}

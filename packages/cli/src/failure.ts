// What the command line itself has to refuse or give up: a code, a sentence, and what to do about it.

/** An error with a stable `code`, as the runtime's are; the command line compares by code and never by class. */
export class Failure extends Error {
  readonly code: string
  readonly hint: string | undefined
  constructor(code: string, message: string, hint?: string) {
    super(message)
    this.name = 'Failure'
    this.code = code
    this.hint = hint
  }
}

/** What was typed makes no sense: exit code 2, and nothing has been done. */
export function usage(message: string, hint?: string): Failure {
  return new Failure('USAGE', message, hint)
}

/** The reader of our stdout has left (`errand receive 3 | head -1`): not an error, the end of our work. */
export const BROKEN_PIPE = 'EPIPE'

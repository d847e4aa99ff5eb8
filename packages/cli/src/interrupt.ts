// Ctrl-C. What it means is the command's: stop the job, detach, or end the line.
import type { Signals } from './context.ts'
import { EXIT } from './exit-codes.ts'

/** Calls back for each SIGINT or SIGTERM with how many there were; until disposed they no longer end the process. */
export function onInterrupt(signals: Signals, handler: (times: number, exitCode: number) => void): Disposable {
  let times = 0
  const interrupted = (): void => handler(++times, EXIT.interrupted)
  const terminated = (): void => handler(++times, EXIT.terminated)
  signals.on('SIGINT', interrupted)
  signals.on('SIGTERM', terminated)
  return {
    [Symbol.dispose]() {
      signals.off('SIGINT', interrupted)
      signals.off('SIGTERM', terminated)
    },
  }
}

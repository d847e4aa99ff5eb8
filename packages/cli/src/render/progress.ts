// One live line on stderr, for a person: what runs now and how far it is.
import type { Progress } from '@errand/runtime/client'

/** Text of a progress record: `Copying: 3 of 9 [33%] 12s left`. */
export function progressText(progress: Progress): string {
  const { activity, status, percent, secondsRemaining } = progress
  return [
    status === undefined || status === '' ? activity : `${activity}: ${status}`,
    percent === undefined ? '' : `[${Math.round(Math.min(100, Math.max(0, percent)))}%]`,
    secondsRemaining === undefined || secondsRemaining < 0 ? '' : `${Math.round(secondsRemaining)}s left`,
  ]
    .filter((part) => part !== '')
    .join(' ')
}

/** The line of several jobs at once: what each said last, until it says that it is completed. */
export class ProgressLine {
  readonly #said = new Map<string, string>()

  /** Takes a record; returns the line now. */
  take(key: string, progress: Progress): string {
    if (progress.completed === true) this.#said.delete(key)
    else this.#said.set(key, progressText(progress))
    return [...this.#said.values()].join(' · ')
  }

  /** Everything `jobId` has begun is over. */
  end(jobId: string): string {
    for (const key of this.#said.keys()) if (key.startsWith(`${jobId} `)) this.#said.delete(key)
    return [...this.#said.values()].join(' · ')
  }
}

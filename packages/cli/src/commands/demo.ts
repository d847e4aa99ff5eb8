// errand demo: the tour, from wherever errand is installed.
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { Failure } from '../failure.ts'
import { onInterrupt } from '../interrupt.ts'
import { pick } from '../render/json.ts'
import { playTour } from '../tour.ts'

export default async function demo(context: Context): Promise<number> {
  const { terminal, env, json, quiet, signal } = context
  const begun = performance.now()
  const over = new AbortController()
  let interrupted: number | undefined
  using _interrupts = onInterrupt(context.signals, (times, exitCode) => {
    interrupted ??= exitCode
    if (times === 1) terminal.say('ending the demo, and what it has started')
    over.abort(new Failure('INTERRUPTED', 'interrupted'))
  })
  try {
    const show = json !== undefined ? 'nothing' : quiet ? 'checks' : 'all'
    const checks = await playTour({ terminal, env, show, signal: AbortSignal.any([signal, over.signal]) })
    const ok = checks.every((check) => check.ok)
    const seconds = Math.round((performance.now() - begun) / 100) / 10
    if (json !== undefined) await terminal.out(`${JSON.stringify(pick({ ok, seconds, checks }, json))}\n`)
    else
      await terminal.out(`${ok ? terminal.data('green', 'all of it worked') : 'not all of it worked'} (${seconds} s)\n`)
    return ok ? EXIT.done : EXIT.failed
  } catch (error) {
    if (interrupted !== undefined && over.signal.reason === error) return interrupted
    throw error
  }
}

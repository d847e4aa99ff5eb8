// The mission's two scripts, as text that can travel: nothing in them comes from outside.
import type { ScriptContext } from '../../src/index.ts'

export interface LogEvent {
  index: number
  time: Date
  source: string
  message: string
}

/** A real log of this machine. */
export const SYSTEM_LOG: string = process.getBuiltinModule('node:fs').existsSync('/var/log/dpkg.log')
  ? '/var/log/dpkg.log'
  : '/etc/services'

/** `Get-Eventlog system`: the lines of a log as objects. */
export async function* readEvents(_ctx: ScriptContext, path: string, newest: number): AsyncGenerator<LogEvent> {
  const text = await process.getBuiltinModule('node:fs/promises').readFile(path, 'utf8')
  const lines = text.split('\n').filter((line) => line !== '')
  for (const [index, message] of lines.entries()) {
    if (index >= newest) return
    const time = new Date(message.slice(0, 19).replace(' ', 'T'))
    yield { index, time: Number.isNaN(time.getTime()) ? new Date(index) : time, source: path, message }
  }
}

/**
 * `1..60 | % { sleep 1; "Output $_" }`: lines from 1 on. Before line n it waits for the file `gates[n]`, and it notes in
 * `log` how far it is, so that a test can see it work while nobody is connected.
 */
export async function* counter(
  ctx: ScriptContext,
  to: number,
  gates: Record<number, string> = {},
  log?: string,
): AsyncGenerator<string> {
  const { appendFileSync, existsSync } = process.getBuiltinModule('node:fs')
  for (let n = 1; n <= to; n++) {
    const gate = gates[n]
    while (gate !== undefined && !existsSync(gate)) await ctx.sleep(10)
    if (log !== undefined) appendFileSync(log, `${n}\n`)
    yield `Output ${n}`
    await ctx.sleep(1)
  }
}

/** What the counter says from one line to another. */
export function lines(from: number, to: number): string[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => `Output ${from + n}`)
}

/** Its own process, a process it started, then nothing until it is stopped. */
export async function* family(ctx: ScriptContext): AsyncGenerator<number> {
  const child = process.getBuiltinModule('node:child_process').spawn('sleep', ['600'], { stdio: 'ignore' })
  yield process.pid
  yield child.pid!
  await ctx.sleep(600_000)
}

/** The process it runs in. */
export async function pidOf(): Promise<number> {
  return process.pid
}

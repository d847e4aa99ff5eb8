// This machine's own event logs as objects: what `Get-EventLog` gives in about_Remote_Jobs.
//
// One self-contained script. It travels two ways: as a file (`errand start examples/eventlog.ts --on server01`) and as
// a function (`peer.start(eventlog, { on: 'server01' })`). The second sends the text of the function alone, so
// everything it needs, imports too, stands inside it; what stands outside is types, and they are erased.
import type { ScriptContext } from '@errand/runtime'

export type Level = 'info' | 'warning' | 'error'

export interface LogEvent {
  readonly date: Date
  /** The program that said it. */
  readonly source: string
  /** As the log says; a log that says none (most text files) is judged by its words. */
  readonly level: Level
  /** One or more lines, at most 65 536 characters. */
  readonly message: string
}

export interface EventLogOptions {
  /** A log's name (`journal`, `syslog`, `dpkg`, …), `system` for those of the machine, `all` (default) for the user's, too. */
  log?: string
  /** Only so many, the newest. Default: all there are. */
  newest?: number
  /** Only these and worse: `warning` gives warnings and errors. Default: `info`. */
  level?: Level
  /** A folder that stands for `/`. Default: `/`. */
  root?: string
}

/**
 * Yields what the event logs of the machine say, oldest first. Reads files in blocks: from their end when only the
 * newest are wanted, otherwise all logs at once, merged by date; rotated files (`.1`, `.2.gz`) are part of their log.
 * A log that may not be read is a warning record. Ends with an error when `ctx.signal` is aborted.
 * @throws RangeError for a log that is not there (the message lists those that are), and for options out of range
 */
export default async function* eventlog(
  ctx: Pick<ScriptContext, 'signal' | 'warn'>,
  options: EventLogOptions = {},
): AsyncGenerator<LogEvent, void, undefined> {
  const { createReadStream } = await import('node:fs')
  const { access, open, readdir, stat } = await import('node:fs/promises')
  const { spawn } = await import('node:child_process')
  const { homedir } = await import('node:os')
  const path = await import('node:path')
  const { pipeline } = await import('node:stream')
  const zlib = await import('node:zlib')

  /** Bytes read at once. */
  const BLOCK = 65_536
  /** Characters of one line, and of one message; what is longer is cut. */
  const LONGEST = 65_536
  const DAY = 86_400_000

  // ── what may stand in a log ───────────────────────────────────────────────────────────────────────────────────────

  /** A date without a year, as syslog writes it: month (from 0), day, hours, minutes, seconds. */
  type Yearless = readonly [number, number, number, number, number]
  /** The first line of an entry. The lines behind it that begin no other belong to it. */
  interface Head {
    readonly when: Date | Yearless
    readonly source: string
    readonly level?: Level | undefined
    readonly message: string
  }
  interface Format {
    head(line: string, file: string): Head | undefined
    /** Which of the lines behind the first are kept. Default: all. */
    keeps?(line: string): boolean
    /** Makes one event of several lines. Default: the message goes on. */
    whole?(head: Head, lines: readonly string[]): { message: string; level?: Level | undefined }
  }
  interface File {
    readonly path: string
    /** How it is compressed: the end of its name. */
    readonly packed: string
  }
  interface Log {
    readonly name: string
    /** Logs that hold the same: where one of them is, `system` and `all` leave this one out. */
    readonly repeats: readonly string[]
    /** Oldest first. */
    all(): AsyncGenerator<LogEvent>
    /** The newest `n`, oldest first. */
    newest(n: number): Promise<LogEvent[]>
  }

  const ranks: Record<Level, number> = { info: 0, warning: 1, error: 2 }

  /** For logs that give no level. */
  function judged(text: string): Level {
    const said = text.replace(/\b(?:no|0|without) errors?\b/gi, '')
    // Not as a part of a name: libgpg-error.
    if (/(?<![\w-])(?:error|fatal|panic|critical|emergency|segfault|failed|failure)(?![\w-])/i.test(said))
      return 'error'
    return /(?<![\w-])warn(?:ing)?(?![\w-])/i.test(said) ? 'warning' : 'info'
  }

  /** The words that loggers use; undefined for none of them. */
  function leveled(word: string | undefined): Level | undefined {
    if (word === undefined) return undefined
    if (/^(?:emerg|alert|crit|critical|err|error|fault|fatal|panic)$/i.test(word)) return 'error'
    if (/^warn(?:ing)?$/i.test(word)) return 'warning'
    return /^(?:notice|info|default|(?:sub|d)?debug|trace)$/i.test(word) ? 'info' : undefined
  }

  const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

  /** The date at the beginning of a line and what follows it. One without a zone is in this machine's. */
  function dated(line: string): { when: Date | Yearless; rest: string } | undefined {
    const iso =
      /^\[?(\d{4}-\d\d-\d\d)[T ]{1,2}(\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?(?:(Z)|([+-]\d\d):?(\d\d)?)?\]?(?=\W|$)[ |]?/
    const full = iso.exec(line)
    if (full) {
      const [whole, day, time, fraction = '', utc = '', hours = '', minutes = '00'] = full
      const ms = fraction.slice(0, 3).padEnd(3, '0')
      const when = new Date(`${day}T${time!.padEnd(8, ':00')}.${ms}${utc || (hours && `${hours}:${minutes}`)}`)
      return Number.isNaN(when.getTime()) ? undefined : { when, rest: line.slice(whole.length) }
    }
    const short = /^([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.\d+)? /.exec(line)
    const month = short ? months.indexOf(short[1]!) : -1
    if (!short || month < 0) return undefined
    const [day, hours, minutes, seconds] = short.slice(2).map(Number) as [number, number, number, number]
    return { when: [month, day, hours, minutes, seconds], rest: line.slice(short[0].length) }
  }

  /** `DATE host program[pid]: message`; BusyBox puts `facility.level` behind the host, macOS a `<Level>`. */
  const syslog: Format = {
    head(line) {
      const found = dated(line)
      if (!found) return undefined
      const [, level, text = found.rest] = /^\S+ (?:[a-z\d]+\.([a-z]+) )?(.*)$/s.exec(found.rest) ?? []
      const said = /^([^\s:[(]+)(?:\[\d+\])?(?: \([^)]*\)(?:\[\d+\])?)?(?: <(\w+)>)?: ?(.*)$/s.exec(text)
      // rsyslog writes control characters in octal: a line break is one again.
      const message = (said?.[3] ?? text).trimStart().replaceAll('#012', '\n').replaceAll('#011', '\t')
      return { when: found.when, source: said?.[1] ?? 'syslog', level: leveled(level) ?? leveled(said?.[2]), message }
    },
  }

  /** A line that is a date and a message, with nothing between them. */
  function plain(source: string, level?: Level): Format {
    return {
      head(line) {
        const found = dated(line)
        return found && { when: found.when, source, level, message: found.rest }
      },
    }
  }

  const alternatives: Format = {
    head(line) {
      const found = dated(line.replace(/^update-alternatives /, ''))
      return found && { when: found.when, source: 'update-alternatives', message: found.rest.replace(/^: /, '') }
    },
  }

  /** A block of `Key: value` lines from Start-Date to End-Date, of which there is none when apt was interrupted. */
  const apt: Format = {
    head(line) {
      const found = line.startsWith('Start-Date: ') ? dated(line.slice('Start-Date: '.length)) : undefined
      return found && { when: found.when, source: 'apt', message: '' }
    },
    whole(_head, lines) {
      const said = lines.filter((line) => line !== '' && !line.startsWith('End-Date: '))
      const ended = lines.some((line) => line.startsWith('End-Date: '))
      const failed = lines.some((line) => line.startsWith('Error: '))
      const message = said.join('\n').replace(/^Commandline: /, '')
      return { message, level: failed ? 'error' : ended ? 'info' : 'warning' }
    },
  }

  /** `DATE [pid] LEVEL message` */
  const dnf: Format = {
    head(line) {
      const found = dated(line)
      const said = /^(?:\[\d+\] )?([A-Z]+) (.*)$/s.exec(found?.rest ?? '')
      return found && { when: found.when, source: 'dnf', level: leveled(said?.[1]), message: said?.[2] ?? found.rest }
    },
  }

  /** One file for each time npm ran, named after the moment; its lines are numbered, not dated. */
  const npm: Format = {
    head(line, file) {
      const [, day, hours, minutes, seconds, ms] = /^(.{10}T)(\d\d)_(\d\d)_(\d\d)_(\d{3})Z/.exec(file) ?? []
      if (day === undefined || !line.startsWith('0 ')) return undefined
      return { when: new Date(`${day}${hours}:${minutes}:${seconds}.${ms}Z`), source: 'npm', message: 'npm' }
    },
    keeps: (line) => /^\d+ (?:verbose (?:title|exit)|warn|error) /.test(line),
    whole(head, lines) {
      const of = (what: string): string[] =>
        lines.flatMap((line) => (new RegExp(`^\\d+ ${what} (.*)$`, 's').exec(line) ?? []).slice(1))
      const [title = head.message] = of('verbose title')
      const [exit = '0'] = of('verbose exit')
      const [warnings, errors] = [of('warn'), of('error')]
      const level = exit !== '0' || errors.length > 0 ? 'error' : warnings.length > 0 ? 'warning' : 'info'
      return { message: [exit === '0' ? title : `${title}: exit ${exit}`, ...errors, ...warnings].join('\n'), level }
    },
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  const passes = ({ level }: LogEvent): boolean => ranks[level] >= ranks[options.level ?? 'info']

  /** The date of a yearless one that is no later than `limit`; a day more, for clocks that were set back. */
  function latest(when: Date | Yearless, limit: Date): Date {
    if (when instanceof Date) return when
    const [month, day, hours, minutes, seconds] = when
    // New Year may lie between the line and what it is measured by, and February 29 is rare.
    for (let year = limit.getFullYear() + 1; year >= limit.getFullYear() - 8; year--) {
      const date = new Date(year, month, day, hours, minutes, seconds)
      if (date.getMonth() === month && date.getTime() <= limit.getTime() + DAY) return date
    }
    return limit
  }

  function eventOf(format: Format, head: Head, lines: readonly string[], date: Date): LogEvent {
    const whole = format.whole?.(head, lines) ?? { message: [head.message, ...lines].join('\n'), level: head.level }
    const message = whole.message.slice(0, LONGEST).trimEnd()
    return { date, source: head.source, level: whole.level ?? judged(message), message }
  }

  /** As many of the lines behind an entry's first as have room. */
  function fitting(lines: readonly string[]): string[] {
    let room = LONGEST
    return lines.filter((line) => (room -= line.length + 1) > 0)
  }

  /** The whole lines of a stream, block by block. */
  async function* linesOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
    const decoder = new TextDecoder()
    let rest = ''
    for await (const bytes of stream) {
      ctx.signal.throwIfAborted()
      const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
      // Of a line without end only the beginning is kept: a binary file must not fill the memory.
      rest = lines.pop()!.slice(0, LONGEST)
      yield lines.map(clean)
    }
    if (rest !== '') yield [clean(rest)]
  }

  /** Without what a crash or another system leaves in a line. */
  function clean(line: string): string {
    return line.slice(0, LONGEST).replace(/^\0+|\r$/g, '')
  }

  /** A file from its beginning, unpacked. What is written to it meanwhile is left for the next time. */
  async function* forwardLines({ path, packed }: File): AsyncGenerator<string[]> {
    const size = (await stat(path)).size
    if (size === 0) return
    const file = createReadStream(path, { highWaterMark: BLOCK, end: size - 1 })
    if (packed === '') return yield* linesOf(file)
    const unpack = packed === 'gz' ? zlib.createGunzip() : packed === 'zst' ? zlib.createZstdDecompress() : undefined
    if (!unpack) {
      file.destroy()
      throw Object.assign(new Error(`nothing here unpacks .${packed}`), { code: 'ENOTSUP' })
    }
    // What breaks one of the two breaks the other, and whoever reads it gets to know.
    yield* linesOf(pipeline(file, unpack, () => {}))
  }

  /** A file from its end: the last line first. */
  async function* backwardLines(file: string): AsyncGenerator<string[]> {
    let at = (await stat(file)).size
    if (at === 0) return // also what is no file: opening a pipe would wait for its writer
    const handle = await open(file)
    try {
      // The bytes of a line whose beginning has not been read yet.
      let rest = Buffer.alloc(0)
      while (at > 0) {
        ctx.signal.throwIfAborted()
        const start = Math.max(0, at - BLOCK)
        const { buffer, bytesRead } = await handle.read(Buffer.alloc(at - start), 0, at - start, start)
        if (bytesRead === 0) return // cut off meanwhile
        at = start
        const block = Buffer.concat([buffer.subarray(0, bytesRead), rest])
        // In UTF-8 no other character contains the byte of a line break.
        const first = at === 0 ? 0 : block.indexOf(10) + 1
        if (at > 0 && first === 0) {
          rest = block.subarray(0, 4 * LONGEST) // four bytes a character at most
          continue
        }
        rest = block.subarray(0, Math.max(0, first - 1))
        yield block.toString('utf8', first).split('\n').map(clean).toReversed()
      }
    } finally {
      await handle.close()
    }
  }

  /**
   * In which year each stretch of a file without years begins: one ends where the next line is more than a day earlier.
   * Only the last line is known to be about as old as the file, so this takes a reading of its own.
   */
  async function yearsOf(file: File, format: Format): Promise<number[]> {
    const stretches: { first: Yearless; last: Yearless; lastTime: number }[] = []
    let limit = (await stat(file.path)).mtime
    reading: for await (const lines of forwardLines(file)) {
      for (const line of lines) {
        const when = format.head(line, path.basename(file.path))?.when
        if (when === undefined) continue
        if (when instanceof Date) {
          limit = when // from here on lines have years
          break reading
        }
        const time = Date.UTC(2000, ...when) // a leap year; only for comparing
        const stretch = stretches.at(-1)
        if (stretch && setBack(stretch.lastTime, time)) continue
        if (!stretch || time < stretch.lastTime - DAY) stretches.push({ first: when, last: when, lastTime: time })
        else Object.assign(stretch, { last: when, lastTime: time })
      }
    }
    return stretches
      .toReversed()
      .map(({ first, last }) => {
        limit = latest(last, limit)
        const year = limit.getFullYear()
        limit = new Date(year, ...first)
        return year
      })
      .toReversed()
  }

  /** A clock that was set back over New Year: December 31 behind January 1. */
  const setBack = (before: number, time: number): boolean => time > before + 364 * DAY

  /** The entries of one file, oldest first. */
  async function* forward(file: File, format: Format): AsyncGenerator<LogEvent> {
    const name = path.basename(file.path)
    let years: number[] | undefined
    let before: number | undefined
    let begun: { head: Head; date: Date; lines: string[]; room: number } | undefined
    for await (const lines of forwardLines(file)) {
      for (const line of lines) {
        const head = format.head(line, name)
        if (!head) {
          if (begun && format.keeps?.(line) !== false && (begun.room -= line.length + 1) > 0) begun.lines.push(line)
          continue
        }
        if (begun) yield eventOf(format, begun.head, begun.lines, begun.date)
        let date = head.when
        if (!(date instanceof Date)) {
          years ??= await yearsOf(file, format)
          const time = Date.UTC(2000, ...date)
          const stray = before !== undefined && setBack(before, time)
          if (before !== undefined && time < before - DAY) years.shift()
          if (!stray) before = time
          date = new Date((years[0] ?? new Date().getFullYear()) - (stray ? 1 : 0), ...date)
        }
        begun = { head, date, lines: [], room: LONGEST }
      }
    }
    if (begun) yield eventOf(format, begun.head, begun.lines, begun.date)
  }

  /** The entries of one file, newest first. */
  async function* backward(file: File, format: Format): AsyncGenerator<LogEvent> {
    const name = path.basename(file.path)
    let limit = (await stat(file.path)).mtime
    let behind: string[] = []
    let size = 0
    for await (const lines of backwardLines(file.path)) {
      for (const line of lines) {
        const head = format.head(line, name)
        if (!head) {
          if (format.keeps?.(line) === false) continue
          behind.push(line)
          size += line.length + 1
          if (size < 2 * LONGEST) continue
          // What will be cut anyway need not be kept until the first line is known.
          behind = fitting(behind.toReversed()).toReversed()
          size = LONGEST
          continue
        }
        limit = latest(head.when, limit)
        yield eventOf(format, head, fitting(behind.toReversed()), limit)
        behind = []
        size = 0
      }
    }
  }

  /** The last `n` that pass, of a source that can only be read from its beginning. */
  async function lastOf(events: AsyncGenerator<LogEvent>, n: number): Promise<LogEvent[]> {
    const last: LogEvent[] = []
    for await (const event of events) {
      if (!passes(event)) continue
      last.push(event)
      if (last.length >= 2 * n) last.splice(0, last.length - n)
    }
    return last.slice(-n)
  }

  /** At least `n` that pass, if there are. What is packed can only be read from its beginning. */
  async function* newestFirst(file: File, format: Format, n: number): AsyncGenerator<LogEvent> {
    if (file.packed === '') yield* backward(file, format)
    else yield* (await lastOf(forward(file, format), n)).toReversed()
  }

  /** Why a file cannot be read, for people; anything else that went wrong is thrown on. */
  function warnUnread(name: string, path: string, error: unknown): void {
    ctx.signal.throwIfAborted()
    const { code, message } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    if (code === 'ENOENT') return // rotated away meanwhile
    const denied = code === 'EACCES' || code === 'EPERM'
    ctx.warn(
      `${name}: ${path} ${denied ? 'may not be read: permission denied' : `cannot be read: ${message}`} (${code})`,
    )
  }

  function fileLog(name: string, repeats: readonly string[], files: readonly File[], format: Format): Log {
    return {
      name,
      repeats,
      async *all() {
        for (const file of files) {
          try {
            yield* forward(file, format)
          } catch (error) {
            warnUnread(name, file.path, error)
          }
        }
      },
      async newest(n) {
        const found: LogEvent[] = [] // newest first
        for (const file of files.toReversed()) {
          try {
            for await (const event of newestFirst(file, format, n)) {
              if (passes(event) && found.push(event) === n) return found.toReversed()
            }
          } catch (error) {
            warnUnread(name, file.path, error)
          }
        }
        return found.toReversed()
      },
    }
  }

  /** A line of JSON; one that is none, or was cut, is an object without anything. */
  function objectOf(line: string): Record<string, unknown> {
    try {
      return JSON.parse(line) as Record<string, unknown>
    } catch {
      return {}
    }
  }

  /** In a journal bytes that are no text come as numbers, a field that was set twice as a list, a very long one as null. */
  function textOf(value: unknown): string {
    const bytes = Array.isArray(value) && value.length > 0 && value.every((byte) => typeof byte === 'number')
    const text = bytes ? Buffer.from(value as number[]).toString() : Array.isArray(value) ? value.join('\n') : value
    return typeof text === 'string' ? text.slice(0, LONGEST).trimEnd() : text === null ? '(too long)' : ''
  }

  /** What a program prints, one JSON object a line. `argsFor` are its arguments for the newest `n`. */
  function programLog(
    name: string,
    program: string,
    args: readonly string[],
    read: (entry: Record<string, unknown>) => LogEvent | undefined,
    argsFor: (n: number) => readonly string[] = () => args,
  ): Log {
    async function* all(asked = args): AsyncGenerator<LogEvent> {
      const child = spawn(program, asked, { stdio: ['ignore', 'pipe', 'pipe'] })
      const ended = new Promise<number | Error | null>((resolve) => {
        child.once('error', resolve)
        child.once('close', resolve)
      })
      const kill = (): void => void child.kill('SIGKILL')
      ctx.signal.addEventListener('abort', kill)
      let words = ''
      child.stderr.on('data', (bytes: Buffer) => (words = (words + bytes.toString()).slice(0, 4096)))
      try {
        for await (const lines of linesOf(child.stdout)) {
          for (const line of lines) {
            if (!line.startsWith('{')) continue
            const event = read(objectOf(line))
            if (event) yield event
          }
        }
        const how = await ended
        ctx.signal.throwIfAborted()
        const said = how instanceof Error ? how.message : words.trim()
        if (said !== '' || how !== 0) ctx.warn(`${name}: ${program}: ${said || `exit ${String(how)}`}`)
      } finally {
        ctx.signal.removeEventListener('abort', kill)
        kill()
        await ended
      }
    }
    return { name, repeats: [], all, newest: (n) => lastOf(all(argsFor(n)), n) }
  }

  // ── which logs there are ──────────────────────────────────────────────────────────────────────────────────────────

  const root = options.root ?? '/'

  /** A log's file and its rotated ones, oldest first: `log-20260503.gz log.2.gz log.1 log`. */
  async function filesOf(name: string, place: string): Promise<File[]> {
    const folder = path.join(root, path.dirname(place))
    const base = path.basename(place)
    const found: (File & { age: number; day: string })[] = []
    for (const entry of await listed(name, folder)) {
      if (!entry.startsWith(base)) continue
      const parts = /^(?:\.(\d+)|-(\d{8}(?:-?\d+)?))?(?:\.(gz|zst|xz|bz2))?$/.exec(entry.slice(base.length))
      if (!parts) continue
      const [, age = '-1', day = '99999999', packed = ''] = parts
      found.push({ path: path.join(folder, entry), packed, age: Number(age), day })
    }
    return found.toSorted((a, b) => b.age - a.age || (a.day < b.day ? -1 : 1))
  }

  const folders = new Map<string, Promise<string[]>>()
  function listed(name: string, folder: string): Promise<string[]> {
    let entries = folders.get(folder)
    if (!entries) {
      entries = readdir(folder).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTDIR') warnUnread(name, folder, error)
        return []
      })
      folders.set(folder, entries)
    }
    return entries
  }

  async function programAt(places: readonly string[]): Promise<string | undefined> {
    for (const place of places) {
      const here = path.join(root, place)
      const there = await access(here).then(
        () => true,
        () => false,
      )
      if (there) return here
    }
    return undefined
  }

  /** The systemd journal, unless it is empty, as in a container. */
  async function journal(): Promise<Log[]> {
    const program = await programAt(['usr/bin/journalctl', 'bin/journalctl', 'run/current-system/sw/bin/journalctl'])
    if (program === undefined) return []
    const args = ['-o', 'json', '--no-pager', '-n']
    const read = (entry: Record<string, unknown>): LogEvent | undefined => {
      const time = Number(entry['__REALTIME_TIMESTAMP']) / 1000
      if (Number.isNaN(time)) return undefined
      const priority = Number(entry['PRIORITY'] ?? 6)
      return {
        date: new Date(time),
        source: textOf(entry['SYSLOG_IDENTIFIER'] ?? entry['_COMM'] ?? 'journal'),
        level: priority <= 3 ? 'error' : priority === 4 ? 'warning' : 'info',
        message: textOf(entry['MESSAGE']),
      }
    }
    const least = { info: '7', warning: '4', error: '3' }[options.level ?? 'info']
    const log = programLog('journal', program, [...args, 'all', '-p', least], read, (n) => [
      ...args,
      String(n),
      '-p',
      least,
    ])
    for await (const _ of programLog('journal', program, [...args, '1'], read).all()) return [log]
    return []
  }

  /** The log of macOS: an hour of it, because it is asked for by time, not by number, and a day takes minutes. */
  async function unified(): Promise<Log[]> {
    const program = await programAt(['usr/bin/log'])
    if (program === undefined || (await programAt(['private/var/db/diagnostics', 'var/db/diagnostics'])) === undefined)
      return []
    const args = ['show', '--style', 'ndjson', '--last', '1h']
    return [
      programLog('unified', program, args, (entry) => {
        const when = dated(textOf(entry['timestamp']))?.when
        if (!(when instanceof Date)) return undefined
        const source = path.basename(textOf(entry['processImagePath']) || 'kernel')
        const level = leveled(textOf(entry['messageType'])) ?? 'info'
        return { date: when, source, level, message: textOf(entry['eventMessage']) }
      }),
    ]
  }

  async function npmLogs(): Promise<Log[]> {
    const folder = path.join(root, homedir(), '.npm/_logs')
    const names = (await listed('npm', folder)).filter((name) => /^\d{4}-.*Z-debug-\d+\.log$/.test(name)).toSorted()
    const files = names.map((name) => ({ path: path.join(folder, name), packed: '' }))
    return files.length === 0 ? [] : [fileLog('npm', [], files, npm)]
  }

  const texts: readonly (readonly [name: string, place: string, format: Format, repeats?: readonly string[]])[] = [
    // What a syslog daemon writes beside a journal, and the parts of it that get files of their own.
    ['syslog', 'var/log/syslog', syslog, ['journal']],
    ['messages', 'var/log/messages', syslog, ['journal', 'syslog']],
    ['system.log', 'var/log/system.log', syslog, ['unified']],
    ['kern', 'var/log/kern.log', syslog, ['journal', 'syslog', 'messages']],
    ['auth', 'var/log/auth.log', syslog, ['journal']],
    ['secure', 'var/log/secure', syslog, ['journal']],
    ['daemon', 'var/log/daemon.log', syslog, ['journal', 'syslog', 'messages']],
    ['user', 'var/log/user.log', syslog, ['journal', 'syslog', 'messages']],
    ['cron', 'var/log/cron.log', syslog, ['journal', 'syslog']],
    ['cron', 'var/log/cron', syslog, ['journal', 'syslog']],
    ['mail', 'var/log/mail.log', syslog, ['journal', 'syslog']],
    ['mail', 'var/log/maillog', syslog, ['journal', 'syslog']],
    // What package managers do.
    ['dpkg', 'var/log/dpkg.log', plain('dpkg', 'info')],
    ['apt', 'var/log/apt/history.log', apt],
    ['alternatives', 'var/log/alternatives.log', alternatives],
    ['dnf', 'var/log/dnf.log', dnf],
    ['dnf', 'var/log/dnf5.log', dnf],
    ['dnf.rpm', 'var/log/dnf.rpm.log', dnf],
    ['yum', 'var/log/yum.log', plain('yum')],
    ['zypper', 'var/log/zypp/history', plain('zypper')],
    ['pacman', 'var/log/pacman.log', plain('pacman')],
    ['install', 'var/log/install.log', syslog],
  ]

  async function logs(): Promise<Log[]> {
    const found = [...(await journal()), ...(await unified())]
    for (const [name, place, format, repeats = []] of texts) {
      const files = await filesOf(name, place)
      if (files.length > 0) found.push(fileLog(name, repeats, files, format))
    }
    return [...found, ...(await npmLogs())]
  }

  /** @throws RangeError for a name that no log here has */
  function chosen(there: readonly Log[], name: string): Log[] {
    if (name === 'all' || name === 'system') {
      const names = new Set(there.map((log) => log.name))
      const own = name === 'all' ? there : there.filter((log) => log.name !== 'npm')
      return own.filter(({ repeats }) => !repeats.some((other) => names.has(other)))
    }
    const named = there.filter((log) => log.name === name)
    if (named.length > 0) return named
    const names = [...new Set(there.map((log) => log.name))].join(', ')
    throw new RangeError(
      `there is no log '${name}' here; there are: ${names || 'none'} (and system, all: several at once)`,
    )
  }

  /** Several sources in order of their own, as one in order of dates. */
  async function* merged(sources: readonly AsyncGenerator<LogEvent>[]): AsyncGenerator<LogEvent> {
    try {
      const heads = await Promise.all(sources.map((source) => source.next()))
      for (;;) {
        let first = -1
        heads.forEach((head, at) => {
          if (!head.done && (first < 0 || head.value.date < heads[first]!.value!.date)) first = at
        })
        if (first < 0) return
        yield heads[first]!.value as LogEvent
        heads[first] = await sources[first]!.next()
      }
    } finally {
      await Promise.all(sources.map((source) => source.return(undefined)))
    }
  }

  // ── and now ───────────────────────────────────────────────────────────────────────────────────────────────────────

  const { log = 'all', newest, level = 'info' } = options
  if (newest !== undefined && !(Number.isSafeInteger(newest) && newest > 0)) {
    throw new RangeError(`newest: a whole number from 1, not ${String(newest)}`)
  }
  if (!Object.hasOwn(ranks, level)) throw new RangeError(`level: info, warning or error, not '${String(level)}'`)
  ctx.signal.throwIfAborted()
  const sources = chosen(await logs(), log)
  if (sources.length === 0) ctx.warn(`no event log found under ${root}`)
  if (newest === undefined) {
    for await (const event of merged(sources.map((source) => source.all()))) {
      ctx.signal.throwIfAborted()
      if (passes(event)) yield event
    }
    return
  }
  let found: LogEvent[] = []
  for (const source of sources) found = found.concat(await source.newest(newest))
  yield* found.toSorted((a, b) => a.date.getTime() - b.date.getTime()).slice(-newest)
}

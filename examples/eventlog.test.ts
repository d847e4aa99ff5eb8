import { execFile } from 'node:child_process'
import { chmod, mkdir, mkdtemp, open, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { createPeer } from '@errand/runtime'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import eventlog, { type EventLogOptions, type LogEvent } from './eventlog.ts'

const roots: string[] = []
let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'eventlog-'))
  roots.push(root)
})
afterAll(() => Promise.all(roots.map((folder) => rm(folder, { recursive: true, force: true }))))

/** Puts a file under the root; its time is what dates without a year are measured by. */
async function put(place: string, text: string | Uint8Array, time = new Date(2026, 5, 1)): Promise<string> {
  const path = join(root, place)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text)
  await utimes(path, time, time)
  return path
}

/** A journalctl that prints what it is given. */
async function putProgram(place: string, script: string): Promise<string> {
  const path = await put(place, `#!/bin/sh\n${script}\n`)
  await chmod(path, 0o755)
  return path
}

interface Read {
  readonly events: LogEvent[]
  readonly warnings: string[]
}

async function read(options: EventLogOptions = {}, signal = new AbortController().signal): Promise<Read> {
  const warnings: string[] = []
  const events: LogEvent[] = []
  for await (const event of eventlog({ signal, warn: (value) => warnings.push(String(value)) }, { root, ...options })) {
    events.push(event)
  }
  return { events, warnings }
}

const messages = ({ events }: Read): string[] => events.map(({ message }) => message)
const dates = ({ events }: Read): number[] => events.map(({ date }) => date.getTime())
const lines = (...all: string[]): string => all.map((line) => `${line}\n`).join('')

describe('dates without a year', () => {
  const cases = {
    'one New Year': {
      text: lines(
        'Dec 30 10:00:00 h a: 1',
        'Dec 31 23:59:59 h a: 2',
        'Jan  1 00:00:00 h a: 3',
        'Jan  2 08:00:00 h a: 4',
      ),
      time: new Date(2025, 0, 2, 8),
      dates: [
        new Date(2024, 11, 30, 10),
        new Date(2024, 11, 31, 23, 59, 59),
        new Date(2025, 0, 1),
        new Date(2025, 0, 2, 8),
      ],
    },
    'several years in one file': {
      text: lines(
        'Mar  1 00:00:00 h a: 1',
        'Feb  1 00:00:00 h a: 2',
        'Jun  1 00:00:00 h a: 3',
        'May 31 00:00:00 h a: 4',
        'May 29 00:00:00 h a: 5',
      ),
      time: new Date(2026, 4, 30),
      dates: [
        new Date(2024, 2, 1),
        new Date(2025, 1, 1),
        new Date(2025, 5, 1),
        new Date(2025, 4, 31),
        new Date(2026, 4, 29),
      ],
    },
    'a last line from the year before the file was touched': {
      text: lines('Nov 30 12:00:00 h a: 1'),
      time: new Date(2026, 1, 3),
      dates: [new Date(2025, 10, 30, 12)],
    },
    'a first line a moment after the file was touched, over New Year': {
      text: lines('Jan  1 00:00:01 h a: 1'),
      time: new Date(2025, 11, 31, 23, 59, 59),
      dates: [new Date(2026, 0, 1, 0, 0, 1)],
    },
    'February 29': {
      text: lines('Feb 29 12:00:00 h a: 1'),
      time: new Date(2026, 2, 1),
      dates: [new Date(2024, 1, 29, 12)],
    },
    'a clock that was set back by minutes': {
      text: lines('May  1 12:00:00 h a: 1', 'May  1 11:50:00 h a: 2', 'May  1 12:01:00 h a: 3'),
      time: new Date(2026, 4, 1, 12, 1),
      dates: [new Date(2026, 4, 1, 12), new Date(2026, 4, 1, 11, 50), new Date(2026, 4, 1, 12, 1)],
    },
    'a clock that was set back over New Year': {
      text: lines(
        'Jan  1 00:00:01 h a: 1',
        'Dec 31 23:59:50 h a: 2',
        'Jan  1 00:00:02 h a: 3',
        'Jan  2 00:00:00 h a: 4',
      ),
      time: new Date(2026, 0, 2),
      dates: [
        new Date(2026, 0, 1, 0, 0, 1),
        new Date(2025, 11, 31, 23, 59, 50),
        new Date(2026, 0, 1, 0, 0, 2),
        new Date(2026, 0, 2),
      ],
    },
    'lines with a year after lines without': {
      text: lines('Dec 31 10:00:00 h a: 1', '2024-01-01T10:00:00 h a: 2'),
      time: new Date(2026, 0, 1),
      dates: [new Date(2023, 11, 31, 10), new Date(2024, 0, 1, 10)],
    },
  }
  for (const [name, { text, time, dates: expected }] of Object.entries(cases)) {
    it(`${name}: the same from both ends`, async () => {
      await put('var/log/syslog', text, time)
      const forward = await read({ log: 'syslog' })
      expect(forward.events.map(({ date }) => date)).toEqual(expected)
      // `newest` sorts, because its answers come from several logs.
      const backward = await read({ log: 'syslog', newest: 100 })
      expect(dates(backward)).toEqual(dates(forward).toSorted((a, b) => a - b))
    })
  }
})

describe('what the formats mean', () => {
  /** Both directions must say the same. */
  async function both(log: string): Promise<LogEvent[]> {
    const { events, warnings } = await read({ log })
    expect(warnings).toEqual([])
    expect((await read({ log, newest: 1000 })).events).toEqual(events)
    for (const event of events) expect(Object.keys(event)).toEqual(['date', 'source', 'level', 'message'])
    return events
  }

  it('syslog: program, priority, lines that go on', async () => {
    await put(
      'var/log/syslog',
      lines(
        '\tthe end of something that began in the file before',
        '2026-05-03T10:00:00.250000+02:00 host sshd[12]: Accepted publickey for me',
        '2026-05-03T10:00:01+02:00 host kernel: [    1.5] EXT4-fs error (device sda1): bad',
        '2026-05-03T08:00:02Z host app[3]: first#012second',
        '\tthird',
        '2026-05-03T08:00:03Z host last message repeated 3 times',
        '2026-05-03T08:00:04Z host daemon.warn dnsmasq[7]: low on leases',
        '2026-05-03T08:00:05Z host login[9] (com.example.x) <Error>: no',
        '2026-05-03T08:00:06Z host tool: finished with 0 errors, see libgpg-error',
      ),
    )
    const at = (second: number, ms = 0): Date => new Date(Date.UTC(2026, 4, 3, 8, 0, second, ms))
    expect(await both('syslog')).toEqual([
      { date: at(0, 250), source: 'sshd', level: 'info', message: 'Accepted publickey for me' },
      { date: at(1), source: 'kernel', level: 'error', message: '[    1.5] EXT4-fs error (device sda1): bad' },
      { date: at(2), source: 'app', level: 'info', message: 'first\nsecond\n\tthird' },
      { date: at(3), source: 'syslog', level: 'info', message: 'last message repeated 3 times' },
      { date: at(4), source: 'dnsmasq', level: 'warning', message: 'low on leases' },
      { date: at(5), source: 'login', level: 'error', message: 'no' },
      { date: at(6), source: 'tool', level: 'info', message: 'finished with 0 errors, see libgpg-error' },
    ])
  })

  it('apt: one event a block, failed and interrupted ones, too', async () => {
    await put(
      'var/log/apt/history.log',
      lines(
        '',
        'Start-Date: 2026-05-01  10:00:00',
        'Commandline: apt-get install tar',
        'Requested-By: me (1000)',
        'Install: tar:amd64 (1.34)',
        'End-Date: 2026-05-01  10:00:05',
        '',
        'Start-Date: 2026-05-02  10:00:00',
        'Commandline: apt-get upgrade',
        'Error: Sub-process /usr/bin/dpkg returned an error code (1)',
        'End-Date: 2026-05-02  10:00:05',
        '',
        'Start-Date: 2026-05-03  10:00:00',
        'Commandline: apt-get remove tar',
      ),
    )
    expect(await both('apt')).toEqual([
      {
        date: new Date(2026, 4, 1, 10),
        source: 'apt',
        level: 'info',
        message: 'apt-get install tar\nRequested-By: me (1000)\nInstall: tar:amd64 (1.34)',
      },
      {
        date: new Date(2026, 4, 2, 10),
        source: 'apt',
        level: 'error',
        message: 'apt-get upgrade\nError: Sub-process /usr/bin/dpkg returned an error code (1)',
      },
      { date: new Date(2026, 4, 3, 10), source: 'apt', level: 'warning', message: 'apt-get remove tar' },
    ])
  })

  const cases = {
    dpkg: {
      place: 'var/log/dpkg.log',
      text: '2026-05-01 10:00:00 status installed libgpg-error0:amd64 1.46 error',
      event: { source: 'dpkg', level: 'info', message: 'status installed libgpg-error0:amd64 1.46 error' },
    },
    alternatives: {
      place: 'var/log/alternatives.log',
      text: 'update-alternatives 2026-05-01 10:00:00: link group pager updated',
      event: { source: 'update-alternatives', level: 'info', message: 'link group pager updated' },
    },
    dnf: {
      place: 'var/log/dnf5.log',
      text: `${new Date(2026, 4, 1, 10).toISOString().replace('.000Z', '+0000')} [42] WARNING no space`,
      event: { source: 'dnf', level: 'warning', message: 'no space' },
    },
    yum: {
      place: 'var/log/yum.log',
      text: 'May 01 10:00:00 Installed: tar-1.30',
      event: { source: 'yum', level: 'info', message: 'Installed: tar-1.30' },
    },
    zypper: {
      place: 'var/log/zypp/history',
      text: '2026-05-01 10:00:00|install|tar|1.34',
      event: { source: 'zypper', level: 'info', message: 'install|tar|1.34' },
    },
    pacman: {
      place: 'var/log/pacman.log',
      text: '[2026-05-01 10:00] [ALPM] warning: /etc/hosts installed as /etc/hosts.pacnew',
      event: {
        source: 'pacman',
        level: 'warning',
        message: '[ALPM] warning: /etc/hosts installed as /etc/hosts.pacnew',
      },
    },
    auth: {
      place: 'var/log/auth.log',
      text: 'May  1 10:00:00 host sudo:     me : TTY=pts/0 ; COMMAND=/bin/ls',
      event: { source: 'sudo', level: 'info', message: 'me : TTY=pts/0 ; COMMAND=/bin/ls' },
    },
  } as const
  for (const [log, { place, text, event }] of Object.entries(cases)) {
    it(log, async () => {
      await put(place, `${text}\n`)
      expect(await both(log)).toEqual([{ date: new Date(2026, 4, 1, 10), ...event }])
    })
  }

  it('npm: one event a run', async () => {
    const folder = join(homedir(), '.npm/_logs')
    await put(
      `${folder}/2026-05-01T10_00_00_123Z-debug-0.log`,
      lines('0 verbose cli /usr/bin/node', '1 silly config', '2 verbose title npm run build', '3 verbose exit 0'),
    )
    await put(
      `${folder}/2026-05-01T10_00_01_000Z-debug-0.log`,
      lines('0 verbose cli', '1 verbose title npm ci', '2 warn deprecated x', '3 error code E404', '4 verbose exit 1'),
    )
    const at = Date.UTC(2026, 4, 1, 10, 0, 0)
    expect(await both('npm')).toEqual([
      { date: new Date(at + 123), source: 'npm', level: 'info', message: 'npm run build' },
      { date: new Date(at + 1000), source: 'npm', level: 'error', message: 'npm ci: exit 1\ncode E404\ndeprecated x' },
    ])
  })
})

describe('big and broken files', () => {
  it('the newest are read from the end, however big the file is', async () => {
    // Mostly a hole: from the beginning this would take minutes.
    const file = await open(await put('var/log/dpkg.log', ''), 'r+')
    await file.truncate(64 * 2 ** 30)
    await file.close()
    const hole = join(root, 'var/log/dpkg.log')
    await writeFile(
      hole,
      `\n${lines('2026-05-01 10:00:00 one', '2026-05-01 10:00:01 two', '2026-05-01 10:00:02 three')}`,
      { flag: 'a' },
    )
    expect(messages(await read({ newest: 2 }))).toEqual(['two', 'three'])
  })

  it('lines and characters across the borders of blocks are whole, from both ends', async () => {
    const written = Array.from({ length: 3000 }, (_, n) => `${n} ${'ä€😀'.repeat(n % 60)}`.trimEnd())
    await put(
      'var/log/dpkg.log',
      written
        .map((text) => `2026-05-01 10:00:00 ${text}\n`)
        .join('')
        .trimEnd(),
    )
    expect(messages(await read())).toEqual(written)
    expect(messages(await read({ newest: 3000 }))).toEqual(written)
    expect(messages(await read({ newest: 7 }))).toEqual(written.slice(-7))
  })

  it('a line or an entry without end is cut', async () => {
    await put(
      'var/log/syslog',
      lines(
        `May  1 10:00:00 h a: ${'x'.repeat(3_000_000)}`,
        'May  1 10:00:01 h b: begin',
        ...Array.from({ length: 100_000 }, (_, n) => ` continued ${n}`),
        'May  1 10:00:02 h c: end',
      ),
    )
    const forward = await read()
    expect(forward.events.map(({ source }) => source)).toEqual(['a', 'b', 'c'])
    expect(forward.events[0]!.message).toMatch(/^x{60000,65536}$/)
    expect(forward.events[1]!.message).toMatch(/^begin\n continued 0\n continued 1\n/)
    expect(forward.events[1]!.message.length).toBeLessThanOrEqual(65_536)
    expect((await read({ newest: 10 })).events).toEqual(forward.events)
  })

  it('rotated files belong to their log, packed ones too', async () => {
    const day = (n: number): string => lines(`2026-05-0${n} 10:00:00 day ${n}`, `2026-05-0${n} 11:00:00 later ${n}`)
    await put('var/log/dpkg.log.3.gz', gzipSync(day(1)))
    await put('var/log/dpkg.log.2.gz', gzipSync(day(2)))
    await put('var/log/dpkg.log.1', day(3))
    await put('var/log/dpkg.log', day(4))
    await put('var/log/dpkg.log.bak', day(9))
    const all = ['day 1', 'later 1', 'day 2', 'later 2', 'day 3', 'later 3', 'day 4', 'later 4']
    expect(messages(await read())).toEqual(all)
    expect(messages(await read({ newest: 5 }))).toEqual(all.slice(-5))
  })

  it('what cannot be unpacked is a warning, and the rest is read', async () => {
    await put('var/log/dpkg.log.3.xz', 'x')
    await put('var/log/dpkg.log.2.gz', 'no gzip at all')
    await put('var/log/dpkg.log', lines('2026-05-01 10:00:00 here'))
    for (const options of [{}, { newest: 5 }]) {
      const result = await read(options)
      expect(messages(result)).toEqual(['here'])
      expect(result.warnings.toSorted()).toEqual([
        expect.stringMatching(/^dpkg: .*dpkg\.log\.2\.gz cannot be read: .*\(Z_DATA_ERROR\)$/),
        expect.stringMatching(/^dpkg: .*dpkg\.log\.3\.xz cannot be read: .*\(ENOTSUP\)$/),
      ])
    }
  })

  it('a log that may not be read is a warning that names it and says why', async () => {
    await chmod(await put('var/log/auth.log', lines('May  1 10:00:00 h a: secret')), 0)
    await put('var/log/dpkg.log', lines('2026-05-01 10:00:00 here'))
    await chmod(root, 0o755)
    // Root may read everything: the child gives that up when it has loaded what it needs.
    const program = `
      import eventlog from ${JSON.stringify(new URL('./eventlog.ts', import.meta.url).href)}
      if (process.getuid() === 0) { process.setgroups([]); process.setgid(65534); process.setuid(65534) }
      const warn = (value) => console.log('warning', value)
      for (const newest of [undefined, 5]) {
        const events = eventlog({ signal: new AbortController().signal, warn }, { root: ${JSON.stringify(root)}, newest })
        for await (const { message } of events) console.log('event', message)
      }`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program])
    const once = [
      'event here',
      `warning auth: ${join(root, 'var/log/auth.log')} may not be read: permission denied (EACCES)`,
    ]
    expect(stdout.trim().split('\n').toSorted()).toEqual([...once, ...once].toSorted())
  })
})

describe('which logs', () => {
  const dpkg = (second: number): string => `2026-05-01 10:00:0${second} at ${second}`
  const apt = (second: number): string =>
    lines(`Start-Date: 2026-05-01  10:00:0${second}`, `Commandline: apt ${second}`, 'End-Date: x')

  it('several logs are one, in the order of their dates; newest and level count over all', async () => {
    await put('var/log/dpkg.log', lines(dpkg(1), dpkg(3), dpkg(5)))
    await put('var/log/apt/history.log', apt(2) + apt(4))
    await put(
      join(homedir(), '.npm/_logs/2026-05-01T10_00_00_000Z-debug-0.log'),
      lines('0 a', '1 verbose exit 1'),
      new Date(),
    )
    expect(messages(await read({ log: 'system' }))).toEqual(['at 1', 'apt 2', 'at 3', 'apt 4', 'at 5'])
    expect(messages(await read({ log: 'system', newest: 3 }))).toEqual(['at 3', 'apt 4', 'at 5'])
    expect((await read({ level: 'warning' })).events.map(({ source }) => source)).toEqual(['npm'])
    expect((await read({ level: 'error', newest: 9 })).events.map(({ source }) => source)).toEqual(['npm'])
  })

  it('a name that no log has: the error lists those there are', async () => {
    await put('var/log/dpkg.log', lines(dpkg(1)))
    await put('var/log/apt/history.log', apt(2))
    await expect(read({ log: 'nope' })).rejects.toThrow(/no log 'nope' here; there are: dpkg, apt /)
    await expect(read({ log: 'auth' })).rejects.toThrow(RangeError)
  })

  it('options out of range are refused', async () => {
    await expect(read({ newest: 0 })).rejects.toThrow(/newest/)
    await expect(read({ newest: 1.5 })).rejects.toThrow(/newest/)
    await expect(read({ level: 'bad' as 'info' })).rejects.toThrow(/level/)
  })

  it('no log at all is a warning, not an error', async () => {
    expect(await read()).toEqual({ events: [], warnings: [`no event log found under ${root}`] })
  })

  it('what syslog writes twice is read once', async () => {
    await put('var/log/syslog', lines('May  1 10:00:00 h kernel: boot', 'May  1 10:00:01 h cron: tick'))
    await put('var/log/kern.log', lines('May  1 10:00:00 h kernel: boot'))
    await put('var/log/auth.log', lines('May  1 10:00:02 h sshd: hello'))
    expect(messages(await read())).toEqual(['boot', 'tick', 'hello'])
    expect(messages(await read({ log: 'kern' }))).toEqual(['boot'])
  })
})

describe.skipIf(process.platform === 'win32')('the journal', () => {
  const entry = (second: number, more: object): string =>
    JSON.stringify({ __REALTIME_TIMESTAMP: String(Date.UTC(2026, 4, 1, 10, 0, second) * 1000), ...more })
  const printed = [
    entry(0, { PRIORITY: '6', SYSLOG_IDENTIFIER: 'sshd', MESSAGE: 'hello' }),
    entry(1, { PRIORITY: '4', _COMM: 'python', MESSAGE: [104, 105, 226, 130, 172] }),
    entry(2, { PRIORITY: '2', SYSLOG_IDENTIFIER: ['one', 'two'], MESSAGE: null }),
    '-- no entry --',
    '{"cut',
  ]

  it('is read through journalctl, and what syslog repeats is left out', async () => {
    await put('journal.json', lines(...printed))
    await putProgram('usr/bin/journalctl', `echo "$@" >> '${root}/asked'; cat '${root}/journal.json'`)
    await put('var/log/syslog', lines('May  1 10:00:00 h sshd: hello'))
    await put('var/log/dpkg.log', lines('2026-05-01 10:00:00 here'))
    const { events, warnings } = await read({ log: 'journal' })
    const at = (second: number): Date => new Date(Date.UTC(2026, 4, 1, 10, 0, second))
    expect(events).toEqual([
      { date: at(0), source: 'sshd', level: 'info', message: 'hello' },
      { date: at(1), source: 'python', level: 'warning', message: 'hi€' },
      { date: at(2), source: 'one\ntwo', level: 'error', message: '(too long)' },
    ])
    expect(warnings).toEqual([])
    expect(messages(await read()).toSorted()).toEqual(['(too long)', 'hello', 'here', 'hi€'])
    expect(messages(await read({ log: 'journal', newest: 1, level: 'warning' }))).toEqual(['(too long)'])
    expect((await readFile(join(root, 'asked'), 'utf8')).trim().split('\n').at(-1)).toBe('-o json --no-pager -n 1 -p 4')
  })

  it('an empty or forbidden one is passed over for syslog; what journalctl says of it is a warning', async () => {
    await putProgram(
      'usr/bin/journalctl',
      `echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1`,
    )
    await put('var/log/syslog', lines('May  1 10:00:00 h sshd: hello'))
    const result = await read()
    expect(messages(result)).toEqual(['hello'])
    expect(result.warnings).toEqual([expect.stringMatching(/^journal: .*insufficient permissions/)])
  })

  it('a journalctl that cannot be started is a warning', async () => {
    await put('usr/bin/journalctl', 'no program')
    await put('var/log/syslog', lines('May  1 10:00:00 h sshd: hello'))
    const result = await read({ newest: 3 })
    expect(messages(result)).toEqual(['hello'])
    expect(result.warnings).toEqual([expect.stringMatching(/^journal: .*EACCES/)])
  })

  it('the log of macOS is read through `log show`', async () => {
    await mkdir(join(root, 'var/db/diagnostics'), { recursive: true })
    const event = {
      timestamp: '2026-05-01 10:00:00.250000+0200',
      messageType: 'Fault',
      eventMessage: 'oh',
      processImagePath: '/usr/libexec/x',
    }
    await putProgram('usr/bin/log', `cat <<'X'\n${JSON.stringify(event)}\n{"count":1,"finished":1}\nX`)
    expect((await read({ log: 'unified' })).events).toEqual([
      { date: new Date(Date.UTC(2026, 4, 1, 8, 0, 0, 250)), source: 'x', level: 'error', message: 'oh' },
    ])
  })

  it('an aborted signal ends the program that is being read and the reading', async () => {
    await putProgram(
      'usr/bin/journalctl',
      `echo $$ > '${root}/pid'; echo '${printed[0]}'; case "$*" in *all*) exec sleep 600;; esac`,
    )
    const controller = new AbortController()
    const reason = new Error('enough')
    const events = eventlog({ signal: controller.signal, warn: () => {} }, { root, log: 'journal' })
    expect((await events.next()).value).toMatchObject({ message: 'hello' })
    const next = events.next()
    controller.abort(reason)
    await expect(next).rejects.toBe(reason)
    const pid = Number(await readFile(join(root, 'pid'), 'utf8'))
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/)
  })

  it('a reader that leaves early leaves no program behind', async () => {
    await putProgram(
      'usr/bin/journalctl',
      `echo $$ > '${root}/pid'; echo '${printed[0]}'; case "$*" in *all*) exec sleep 600;; esac`,
    )
    for await (const _ of eventlog({ signal: new AbortController().signal, warn: () => {} }, { root })) break
    const pid = Number(await readFile(join(root, 'pid'), 'utf8'))
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/)
  })
})

it('a signal that is aborted while a file is read ends the reading', async () => {
  await put('var/log/dpkg.log', lines(...Array.from({ length: 20_000 }, (_, n) => `2026-05-01 10:00:00 line ${n}`)))
  const controller = new AbortController()
  const events = eventlog({ signal: controller.signal, warn: () => {} }, { root })
  await events.next()
  controller.abort(new Error('enough'))
  await expect(events.next()).rejects.toThrow('enough')
  await expect(read({}, controller.signal)).rejects.toThrow('enough')
})

describe('as a job', () => {
  const expected = [{ date: new Date(2026, 4, 1, 10, 0, 1), source: 'dpkg', level: 'info', message: 'two' }]
  beforeEach(() => put('var/log/dpkg.log', lines('2026-05-01 10:00:00 one', '2026-05-01 10:00:01 two')))

  for (const engine of ['process', 'thread'] as const) {
    it(`sent as a function, in a ${engine}`, async () => {
      await using peer = await createPeer()
      const job = await peer.start(eventlog, { args: [{ root, newest: 1 }], engine })
      expect(await job.output()).toEqual(expected)
    })
  }

  it('sent as a module, types stripped', async () => {
    const path = fileURLToPath(new URL('./eventlog.ts', import.meta.url))
    const module = stripTypeScriptTypes(await readFile(path, 'utf8'))
    await using peer = await createPeer()
    const job = await peer.start({ module }, { args: [{ root, newest: 1 }] })
    expect(await job.output()).toEqual(expected)
  })

  it('what it may not find is a failure of the job, with the names that there are', async () => {
    await using peer = await createPeer()
    const job = await peer.start(eventlog, { args: [{ root, log: 'security' }] })
    await job.wait()
    expect(job.state).toBe('Failed')
    expect(job.reason?.message).toMatch(/no log 'security' here; there are: dpkg /)
  })
})

it("this machine's own logs", async () => {
  const { events } = await read({ root: '/', newest: 500 })
  const soon = Date.now() + 86_400_000
  events.forEach((event, at) => {
    expect(Object.keys(event)).toEqual(['date', 'source', 'level', 'message'])
    expect(event.date.getTime()).toBeGreaterThan(0)
    expect(event.date.getTime()).toBeLessThan(soon)
    expect(event.date.getTime()).toBeGreaterThanOrEqual(events[at - 1]?.date.getTime() ?? 0)
    expect(event.source).not.toBe('')
  })
})

// `errand enter` as a person sees it: a session on another peer, in a real terminal. Whole screens are kept in `screens`.
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { argv, Machines, until } from './support/machines.ts'
import { hasTmux, Screen, type ScreenOptions } from './support/screen.ts'

const PROMPT = '[server01]>'
const ESCAPE = '\u001b'

describe.skipIf(!hasTmux)('errand enter in a terminal (needs tmux)', { timeout: 120_000 }, () => {
  let machines: Machines
  beforeAll(async () => {
    machines = new Machines()
    await Promise.all(['laptop', 'server01'].map((machine) => machines.up(machine)))
    await machines.pair('laptop', 'server01')
  }, 120_000)
  afterAll(() => machines[Symbol.asyncDispose](), 60_000)

  const history = (): string => join(machines.home('laptop'), 'enter-history')
  /** At its first prompt. */
  async function enter(options: ScreenOptions = {}, ...words: string[]): Promise<Screen> {
    const last = words.at(-1) ?? 'server01'
    const flags = words.slice(0, -1)
    const screen = await Screen.open([...argv, '--home', machines.home('laptop'), 'enter', ...flags, last], options)
    await screen.until(/\]>$/)
    return screen
  }
  /** Types lines, each when the one before it is done. */
  async function type(screen: Screen, ...lines: string[]): Promise<void> {
    for (const line of lines) {
      const before = await prompts(screen)
      await screen.line(line)
      await until(async () => (await prompts(screen)) > before)
      await screen.until(/(\n|^)(\[\w+\]>|\.\.\.)$/)
    }
  }
  /** How many there were. */
  async function prompts(screen: Screen): Promise<number> {
    return (await screen.scrollback()).match(/^(\[\w+\]>|\.\.\.)/gm)?.length ?? 0
  }
  /** Types text, then Tab by itself: with what is typed before, it would be part of a paste. */
  async function tab(screen: Screen, typed: string, then?: (text: string) => boolean): Promise<void> {
    await screen.type(typed)
    await screen.until((text) => text.endsWith(typed))
    await screen.key('Tab')
    if (then) await screen.until(then)
  }
  /** Leaves, and what is then on the screen. */
  async function left(screen: Screen, code = 0): Promise<string> {
    await screen.key('C-d')
    expect(await screen.exited()).toBe(code)
    return shown(screen)
  }
  async function shown(screen: Screen): Promise<string> {
    return `${await screen.scrollback()}\n`.replaceAll(/Runspace\d+/g, 'Runspace#')
  }

  test('S14 S16 lines run there, what they make stays, values and errors are shown', async () => {
    await using screen = await enter({ rows: 50 })
    await type(screen, '1 + 1', 'let limit = 7', 'limit * 6', 'undefined', 'const { pid } = process; typeof pid')
    await type(screen, 'await Promise.resolve({ name: "a", tags: new Set(["b"]), at: new Date(0), none: undefined })')
    await type(screen, 'function twice(n) {', 'return 2 * n', '}', 'twice(limit)')
    await type(screen, '[{ city: "Oslo", temp: -3 }, { city: "Rome", temp: 21 }]', '({ twice, tag: Symbol("tag") })')
    await type(
      screen,
      'class Point { x = 1 }',
      '[new Point(), 2n]',
      'nothing.there',
      'ls',
      'foo bar',
      "throw new TypeError('no')",
    )
    await expect(await left(screen)).toMatchFileSnapshot('screens/enter-lines.txt')
  })

  test('on a terminal values have colours; with NO_COLOR and in 40 columns they have none, and fit', async () => {
    await using colored = await enter()
    await type(colored, "({ name: 'a', at: 1 })")
    expect(await colored.styled()).toContain(`name: ${ESCAPE}[32m'a'`)
    await using screen = await enter({ columns: 40, rows: 40, env: { NO_COLOR: '1' } })
    await type(screen, "({ name: 'a long name of something', list: Array.from({ length: 20 }, (_, n) => n * 1000) })")
    await type(screen, 'await wait(start(async () => 1, { name: "counting" }))', 'nothing.there')
    expect(await screen.styled()).not.toContain(`${ESCAPE}[3`)
    await expect(await left(screen)).toMatchFileSnapshot('screens/enter-narrow.txt')
  })

  test('errors have a stack, of the line alone, only with -v', async () => {
    await using screen = await enter({}, '-v', 'server01')
    await type(screen, 'function fail() { throw new Error("no") }', 'fail()')
    expect(await screen.text()).toMatch(
      /ERROR: Error: no\n {4}at fail \(errand:script:1:\d+\)\n {4}at errand:script:1:\d+\n\[/,
    )
  })

  test('Tab completes what is there: bindings, globals, properties, job verbs; and disturbs nothing', async () => {
    await using screen = await enter({ rows: 40 })
    await type(screen, 'let asked = 0; const jobber = { first: 1, get second() { asked++; return {} } }')
    await tab(screen, 'process.ve', (text) => text.endsWith(`${PROMPT} process.version`))
    await screen.key('Tab', 'Tab')
    await screen.until(/version {3}versions\n+\[server01\]> process\.version$/)
    await screen.key('C-c')
    await tab(screen, 'job')
    await screen.key('Tab')
    await screen.until(/jobber\s+job\s+jobs\n+\[server01\]> job$/)
    await tab(screen, 'ber.')
    await screen.key('Tab')
    await screen.until(/first\s+second/)
    // What is behind a getter is not known; keys wait until that is.
    await tab(screen, 'second.')
    await screen.key('Tab', 'C-c')
    await tab(screen, 'rec', (text) => text.endsWith(`${PROMPT} receive`))
    await screen.key('C-c')
    await tab(screen, '!proc')
    await screen.key('Tab', 'C-c')
    await type(screen, 'asked', 'jobs()')
    await expect(await left(screen)).toMatchFileSnapshot('screens/enter-completion.txt')
  })

  test('lines are found again with Up, also the next time; their file is nobody else’s', async () => {
    rmSync(history(), { force: true })
    await using first = await enter()
    await type(first, 'let one = 1', 'one + 1', ' "not kept"')
    await left(first)
    expect(readFileSync(history(), 'utf8')).toBe('let one = 1\none + 1\n')
    expect(statSync(history()).mode & 0o777).toBe(0o600)
    await using next = await enter()
    await next.key('Up')
    await next.until(`${PROMPT} one + 1`)
    await next.key('Up')
    await next.until(`${PROMPT} let one = 1`)
    await next.key('Enter')
    await next.until((text) => text.endsWith(`let one = 1\n${PROMPT}`))
    await next.key('Up', 'Up', 'Down')
    await next.until((text) => text.endsWith(`${PROMPT} let one = 1`))
    // What was typed before Up: only lines that begin so.
    await next.key('C-c')
    await next.type('one')
    await next.key('Up')
    await next.until((text) => text.endsWith(`${PROMPT} one + 1`))
  })

  test('what is answered is not kept, nor anything where that is switched off; it never grows beyond its bound', async () => {
    rmSync(history(), { force: true })
    await using off = await enter({ env: { ERRAND_HISTORY: '' } })
    await type(off, '1')
    await left(off)
    expect(existsSync(history())).toBe(false)
    writeFileSync(history(), Array.from({ length: 2500 }, (_, at) => `line${at}\n`).join(''))
    await using screen = await enter()
    await screen.line('let word = await ask({ prompt: "Password:", secret: true })')
    await screen.until(/\nPassword:$/)
    await screen.line('hunter2')
    await type(screen, 'word === "hunt" + "er2"')
    await screen.line('await ask("Name?")')
    await screen.until(/\nName\?$/)
    await type(screen, 'visible')
    const text = await left(screen)
    expect(text).toContain('\nPassword:\n')
    expect(text).toContain('\ntrue\n')
    expect(text).toContain('\nName? visible\nvisible\n')
    expect(text).not.toContain('hunter2')
    const kept = readFileSync(history(), 'utf8')
    expect(kept).not.toMatch(/hunter2|visible/)
    expect(kept.split('\n').slice(0, -1)).toHaveLength(1003)
    expect(statSync(history()).mode & 0o777).toBe(0o600)
    rmSync(history())
  })

  test('a paste of several lines is run line by line, each behind its prompt', async () => {
    const lines = [
      'let n = await sleep(200)',
      'n = 1',
      'function add(a, b) {',
      '\treturn a + b',
      '}',
      'add(n, 1)',
      'n = ',
    ]
    await using screen = await enter()
    await screen.type(lines.join('\r'))
    const pasted = await screen.until((text) => text.endsWith(`${PROMPT} n =`))
    await screen.key('C-c')
    await screen.until(/\]>$/)
    await using marked = await enter()
    await marked.type(`${ESCAPE}[200~${lines.join('\r')}${ESCAPE}[201~`)
    expect(await marked.until((text) => text.endsWith(`${PROMPT} n =`))).toBe(pasted)
    await marked.key('C-c')
    await marked.until(/\]>$/)
    await expect(await left(screen)).toMatchFileSnapshot('screens/enter-paste.txt')
  })

  test('!command shows what it writes while it runs, on both streams; Ctrl-C stops it', async () => {
    await using screen = await enter()
    await screen.line('!echo begun; echo trouble >&2; sleep 600')
    await screen.until(/\nbegun\n/)
    await screen.until(/\ntrouble/)
    await screen.key('C-c')
    await screen.until(`stopped\n${PROMPT}`)
    await type(screen, '!exit 3', '!pwd >/dev/null')
    await expect(await left(screen)).toMatchFileSnapshot('screens/enter-command.txt')
  })

  test('Ctrl-C stops the line and not the session; with nothing typed it says how to leave', async () => {
    await using screen = await enter()
    await type(screen, 'globalThis.kept = 1')
    await screen.line('warn("waiting"); await sleep(600_000)')
    await screen.until('\nWARNING: waiting')
    await screen.key('C-c')
    await screen.until(`stopped\n${PROMPT}`)
    await type(screen, 'kept')
    await screen.type('half a line')
    await screen.key('C-c')
    await screen.until(`half a line^C\n${PROMPT}`)
    await type(screen, 'function f() {')
    await screen.key('C-c')
    await screen.until(/\^C\n\[server01\]>$/)
    await screen.key('C-c')
    await screen.until('leaves)')
    await expect(await left(screen)).toMatchFileSnapshot('screens/enter-interrupt.txt')
  })

  test('Ctrl-C twice ends also a line that never lets go; the session goes on, and says what that cost', async () => {
    await using screen = await enter()
    await screen.line('warn("begun"); await sleep(1); for (;;) {}')
    await screen.until('\nWARNING: begun')
    await screen.key('C-c')
    await screen.until('Ctrl-C again ends it by force')
    await screen.key('C-c')
    await screen.until(`stopped\n${PROMPT}`)
    await type(screen, '1 + 1')
    await expect(await left(screen)).toMatchFileSnapshot('screens/enter-force.txt')
  })

  test('what is typed while a line runs waits for its prompt; ~. does not', async () => {
    await using screen = await enter()
    await screen.line('warn("waiting"); await sleep(600)')
    await screen.until('\nWARNING: waiting')
    await screen.line('"typed" + " ahead"')
    await screen.until(`\ntyped ahead\n${PROMPT}`)
    await screen.line('warn("for ever"); await sleep(600_000)')
    await screen.until('\nWARNING: for ever')
    await screen.line('~.')
    expect(await screen.exited()).toBe(0)
    expect(await screen.text()).toContain(`${PROMPT} "typed" + " ahead"\ntyped ahead\n`)
  })

  test('what is typed before a question is shown does not answer it; ~. there leaves', async () => {
    await using screen = await enter()
    const go = join(machines.folder, 'ask-now')
    const wait = `while (!fs.existsSync(${JSON.stringify(go)})) await sleep(20)`
    await screen.line(`warn("waiting"); ${wait}; "said " + await ask("delete all?")`)
    await screen.until('\nWARNING: waiting')
    await screen.type('1 + 1\r2 +')
    await delay(1_000) // nothing shows that it was read: it is not echoed
    writeFileSync(go, '')
    await screen.until(/\ndelete all\?$/)
    await screen.line('no')
    await screen.until(`\ndelete all? no\nsaid no\n${PROMPT} 1 + 1\n2\n${PROMPT} 2 +`)
    await screen.line(' 40')
    await screen.until(`\n42\n${PROMPT}`)
    // Ctrl-C drops what was typed before it, as everywhere.
    rmSync(go)
    await screen.line(`warn("again"); ${wait}; await ask("sure?")`)
    await screen.until('\nWARNING: again')
    await screen.line('"dropped"')
    await delay(1_000)
    writeFileSync(go, '')
    await screen.until(/\nsure\?$/)
    await screen.key('C-c')
    await screen.until(`stopped\n${PROMPT}`)
    await screen.line('await ask("really?")')
    await screen.until(/\nreally\?$/)
    await screen.line('~.')
    expect(await screen.exited()).toBe(0)
    expect(await screen.text()).not.toMatch(/dropped|errand:/)
  })

  test('Ctrl-Z gives the terminal back to the shell, and the prompt is there again behind it', async () => {
    await using screen = await Screen.open(['bash', '--norc', '-i'], { env: { PS1: '$ ' } })
    await screen.line([...argv, '--home', machines.home('laptop'), 'enter', 'server01'].join(' '))
    await screen.until(/\[server01\]>$/)
    await screen.type('40 + ')
    await screen.key('C-z')
    await screen.until(/Stopped[^]*\$$/)
    await screen.line('clear; stty -a | grep -wo -- -*icanon')
    await screen.until(/^icanon\n\$$/)
    await screen.line('fg')
    await screen.until(/\[server01\]> 40 \+$/)
    await screen.line('2')
    await screen.until('\n42\n')
  })

  test('a terminal that is closed runs nothing that was not entered, and ends what it opened', async () => {
    const gone = join(machines.folder, 'gone')
    {
      await using screen = await enter()
      await type(screen, 'await start(["sleep", "601"])')
      await screen.type(`fs.writeFileSync(${JSON.stringify(gone)}, '')`)
      expect(machines.processes('server01').some((pid) => commandOf(pid).startsWith('sleep'))).toBe(true)
    }
    await until(() => machines.processes('server01').every((pid) => !commandOf(pid).startsWith('sleep')))
    expect(existsSync(gone)).toBe(false)
  })

  test('a question is asked where the line runs, until it has an answer that fits', async () => {
    await using screen = await enter()
    await screen.line('await ask({ prompt: "Delete it?", choices: ["yes", "no"], default: "no" })')
    await screen.until(/Delete it\?.*$/)
    await screen.line('perhaps')
    await screen.until(/wanted\nDelete it\?.*$/)
    await type(screen, 'yes')
    await screen.line('await ask("And now?")')
    await screen.until(/And now\?$/)
    await screen.key('C-c')
    await screen.until(`stopped\n${PROMPT}`)
    await expect(await left(screen)).toMatchFileSnapshot('screens/enter-ask.txt')
  })

  test('progress is a live line, and is gone with the line', async () => {
    await using screen = await enter()
    const go = join(machines.folder, 'go')
    const wait = `while (!fs.existsSync(${JSON.stringify(go)})) await sleep(20)`
    await screen.line(`progress({ activity: 'Copying', status: '3 of 9', percent: 33 }); ${wait}; 'copied'`)
    await screen.until(/\nCopying: 3 of 9 +\[#+-+\] +33%$/)
    writeFileSync(go, '')
    const text = await screen.until(`\ncopied\n${PROMPT}`)
    expect(text).not.toContain('33%')
  })

  test('S17 S19 S21 S25 S26 S20 jobs started inside are the session’s, and go with it', async () => {
    await using screen = await enter({ rows: 50, columns: 100 })
    const file = join(machines.folder, 'log.txt')
    await type(
      screen,
      'const work = await start(async function* () {',
      'yield "Output 1"; yield "Output 2"',
      '})',
      'await wait(work)',
      'work.hasMoreData',
      'await receive(work)',
      'work.hasMoreData',
      `const path = process.env.HOME && ${JSON.stringify(file)}; await save(work, path, { from: 0 })`,
      'const asking = await start(async () => `is ${await ask("who?")}`)',
      'await asking.wait({ for: ["Blocked"] }); await answer(asking, "me")',
      'await output(await wait(asking))',
      'const endless = await start(async function* () { for (;;) { yield 1; await sleep(50) } })',
      'await start(["sleep", "600"], { name: "nap" })',
      '(await stop(endless)).state',
      'await remove(endless)',
      'jobs()',
    )
    expect(readFileSync(file, 'utf8')).toBe('Output 1\nOutput 2\n')
    await screen.line('exit')
    expect(await screen.exited()).toBe(0)
    const text = (await shown(screen)).replaceAll(file, 'FILE').replaceAll(/"FILE" *\n?/g, '"FILE"')
    await expect(text).toMatchFileSnapshot('screens/enter-jobs.txt')
    await until(() => machines.processes('server01').every((pid) => !commandOf(pid).startsWith('sleep')))
    await using next = await enter()
    await type(next, 'jobs()')
    expect(await next.text()).toContain('jobs()\n[]\n')
  })

  test('a session that is held is entered as it was, and left so', async () => {
    await machines.ok('laptop', 'session', 'new', 'server01', '--name', 'stays')
    await using first = await enter({}, 'session:stays')
    await type(first, 'let x = 41')
    await first.line('exit')
    expect(await first.exited()).toBe(0)
    await using second = await enter({}, 'session:stays')
    await type(second, 'x + 1')
    expect(await second.text()).toContain('\n42\n')
    // Ended by somebody else, it ends who is in it.
    await machines.ok('laptop', 'session', 'remove', 'stays')
    expect(await second.exited()).toBe(5)
    expect(await second.text()).toMatch(/errand: .*stays.* Closed/)
  })

  test('localhost is the daemon itself', async () => {
    await using screen = await enter({}, 'localhost')
    await type(screen, 'ctx.location')
    expect(await screen.text()).toMatch(/^\[localhost\]> ctx\.location\n\w/m)
  })

  test('a lost link is said, and that it is back; the line goes on, and so does what is being typed', async () => {
    const pid = await machines.pid('server01')
    await using screen = await enter()
    const go = join(machines.folder, 'back')
    const wait = `while (!fs.existsSync(${JSON.stringify(go)})) await sleep(20)`
    await screen.line(`warn('under way'); ${wait}; 'still here'`)
    await screen.until('\nWARNING: under way')
    process.kill(pid, 'SIGSTOP')
    try {
      await screen.until('warning: ')
      writeFileSync(go, '')
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await screen.until(`\nerrand: server01 is back\nstill here\n${PROMPT}`)
    await screen.type('1 + ')
    process.kill(pid, 'SIGSTOP')
    try {
      await screen.until((text) => /warning: [^]*warning: /.test(text) && text.endsWith(`${PROMPT} 1 +`))
      await screen.key('Tab') // gives nothing
      await delay(500) // with what is typed at once it would be part of a paste
      // It cannot be run now, and need not be waited for.
      await screen.line('1')
      await screen.key('C-c')
      await screen.until(/cannot be reached now[^]*\]>$/)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await screen.until((text) => text.endsWith(`is back\n${PROMPT}`))
    const text = await left(screen)
    await expect(text.replaceAll(/^\[server01\]> warn.*\n(?:.*\n)??(?=WARNING)/gm, '')).toMatchFileSnapshot(
      'screens/enter-lost.txt',
    )
  })

  test('a session that is lost for good ends it with 5 and a sentence', async () => {
    await machines.up('server02')
    await machines.pair('laptop', 'server02')
    await using idle = await enter({}, '--lost-after', '1s', 'server02')
    await using busy = await enter({}, '--lost-after', '1s', 'server02')
    await busy.line('warn("under way"); await sleep(600_000)')
    await busy.until('\nWARNING: under way')
    const id = (await machines.ok('laptop', 'session', 'new', 'server02', '--lost-after', '1s')).trim()
    await using held = await enter({}, id)
    process.kill(await machines.pid('server02'), 'SIGKILL')
    expect(await Promise.all([idle.exited(), busy.exited(), held.exited()])).toEqual([5, 5, 5])
    expect(await held.text()).toMatch(
      new RegExp(`errand: .*server02.*\\n {2}\`errand enter ${id}\` takes it up again$`),
    )
    await expect(await shown(idle)).toMatchFileSnapshot('screens/enter-gone.txt')
    expect((await busy.text()).match(/^errand: /gm)).toHaveLength(1)
  })

  function commandOf(pid: number): string {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    } catch {
      return '' // it has ended
    }
  }
})

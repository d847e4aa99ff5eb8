// Completion in the real shells, as a person meets it: a line is typed in a terminal, Tab is pressed, the screen is read.
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { argv, Machines } from './support/machines.ts'
import { Screen, hasTmux } from './support/screen.ts'

const SHELLS = {
  bash: { program: ['bash', '--norc', '--noprofile', '-i'], source: 'source <(errand completion bash)' },
  zsh: { program: ['zsh', '-f', '-i'], source: 'source <(errand completion zsh)' },
  fish: { program: ['fish', '--no-config', '-i'], source: 'errand completion fish | source' },
} as const
type Shell = keyof typeof SHELLS

function installed(shell: Shell): boolean {
  try {
    execFileSync(shell, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** What a peer is called by: nobody needs to be there for a name to be completed. */
const PEER_ID = '12D3KooWErrandErrandErrandErrandErrandErrandErrandEr1'

let machines: Machines
let bin: string
let sleeper: string
beforeAll(async () => {
  if (!hasTmux) return
  machines = new Machines()
  bin = mkdtempSync(join(tmpdir(), 'errand-bin-'))
  // The limit is for people; on a machine that has much else to do a test waits longer.
  const words = [...argv, '--timeout', '20s'].map((word) => `'${word}'`).join(' ')
  writeFileSync(join(bin, 'errand'), `#!/bin/sh\nexec ${words} "$@"\n`)
  chmodSync(join(bin, 'errand'), 0o755)
  await machines.up('here')
  await machines.ok('here', 'peer', 'add', PEER_ID, '--name', 'server01')
  await machines.ok('here', 'peer', 'add', PEER_ID.replace(/1$/, '2'), '--name', 'windows')
  for (let index = 0; index < 11; index++) await machines.ok('here', 'run', '-q', '-e', '1')
  sleeper = (await machines.ok('here', 'start', '-n', 'sleeper', '-e', 'await sleep(600_000)')).trim()
}, 120_000)
afterAll(async () => {
  await machines?.[Symbol.asyncDispose]()
  if (bin) rmSync(bin, { recursive: true, force: true })
}, 60_000)

describe.each(Object.keys(SHELLS) as Shell[])('%s', (shell) => {
  describe.skipIf(!hasTmux || !installed(shell))(`completes (needs tmux and ${shell})`, { timeout: 60_000 }, () => {
    let folder: string
    afterEach(() => rmSync(folder, { recursive: true, force: true }))
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'errand-shell-'))
      mkdirSync(join(folder, 'outdir'))
      writeFileSync(join(folder, 'outdir', 'result.txt'), '')
    })

    /** A shell that has sourced the script, with an empty line. */
    async function open(): Promise<Screen> {
      const { program, source } = SHELLS[shell]
      const env = {
        ERRAND_HOME: machines.home('here'),
        HOME: folder,
        HISTFILE: '/dev/null',
        PS1: '$ ',
        TERM: 'tmux-256color',
      }
      // tmux gives what it starts a PATH of its own choice.
      const path = `PATH=${bin}${delimiter}${process.env['PATH']}`
      const screen = await Screen.open(['env', path, ...program], { columns: 120, rows: 30, env, cwd: folder })
      await screen.line(source)
      // In two parts, so that it is not found where it is typed.
      await screen.line(`printf '%s%s\\n' REA DY`)
      // And the prompt behind it: what is typed before that is shown twice.
      await screen.until(/^READY\n+\S/m)
      return screen
    }

    /** The command line as it stands at the end of the screen. */
    const typed = (text: string): string =>
      text
        .split('\n')
        .findLast((line) => line.includes('errand '))
        ?.replace(/^.*?(?=errand )/, '') ?? ''

    /** Types a line's beginning, presses Tab, waits until it has become that. */
    async function becomes(line: string, whole: string): Promise<void> {
      await using screen = await open()
      await screen.type(line)
      await screen.key('Tab')
      await screen.until((text) => typed(text) === whole)
    }

    test('the id of a job', () => becomes(`errand stop `, `errand stop ${sleeper}`))
    test('the name of a job', () => becomes('errand receive sle', 'errand receive sleeper'))
    test('the name of a peer', () => becomes('errand peer ping ser', 'errand peer ping server01'))
    test('the name of a peer behind --on', () => becomes('errand run --on serv', 'errand run --on server01'))
    test('the second of a list', () => becomes('errand list --at windows,serv', 'errand list --at windows,server01'))
    test('the value in --flag=value', () => becomes('errand run --engine=thr', 'errand run --engine=thread'))
    test('a flag', () => becomes('errand run --max', 'errand run --max-memory'))
    test('a command', () => becomes('errand rece', 'errand receive'))
    test('the second word of a command', () => becomes('errand session disc', 'errand session disconnect'))
    test('a file', () => becomes('errand receive 1 -o outdir/res', 'errand receive 1 -o outdir/result.txt'))
    test('a cmdlet and its parameter', () => becomes('errand Get-Job -IncludeC', 'errand Get-Job -IncludeChildJob'))

    test('several jobs: all are shown', async () => {
      await using screen = await open()
      await screen.type('errand receive 1')
      await screen.key('Tab')
      await screen.key('Tab')
      const text = await screen.until((shown) => ['10', '11', '12'].every((id) => shown.includes(id)))
      // bash shows no descriptions.
      if (shell !== 'bash') expect(text).toMatch(/12 .*Running +sleeper/)
    })
  })
})

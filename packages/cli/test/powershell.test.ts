import { describe, expect, it } from 'vitest'
import { CMDLET_NAMES, isCmdlet, spell, SPELLINGS } from '../src/powershell.ts'
import { COMMANDS } from '../src/grammar.ts'

/** A cmdlet's line as our own, for reading. */
function ours(verb: string, ...tokens: string[]): string {
  const { path, options, words, dashed } = spell(verb, tokens)
  return [path, ...options, ...(dashed ? ['--'] : []), ...words].join(' ')
}

describe('cmdlets', () => {
  it('are known in any case, with their aliases', () => {
    for (const word of ['Start-Job', 'START-JOB', 'sajb', 'icm', 'Gjb', 'rcjb', 'wjb', 'spjb', 'rjb', 'saps']) {
      expect(isCmdlet(word), word).toBe(true)
    }
    for (const word of ['nsn', 'gsn', 'etsn', 'exsn', 'cnsn', 'dnsn', 'rcsn', 'rsn'])
      expect(isCmdlet(word), word).toBe(true)
    for (const word of ['start', 'list', 'Get-Process', 'ls']) expect(isCmdlet(word), word).toBe(false)
  })
  it('each lead to a command there is', () => {
    for (const { path } of SPELLINGS) expect(COMMANDS.map((command) => command.path)).toContain(path)
    expect(CMDLET_NAMES.filter((name) => !isCmdlet(name))).toEqual([])
  })
})

describe('Start-Job and Invoke-Command', () => {
  it.each([
    [['Start-Job', '-Name', 'x', '-ScriptBlock', '{ 1 + 1 }'], 'start -n x -e 1 + 1'],
    [['start-job', '-scriptblock', '1 + 1'], 'start -e 1 + 1'],
    [['sajb', '{ yield 1 }'], 'start -e yield 1'],
    // Without quotes a shell makes words of a block.
    [['Start-Job', '{', '3', '+', '3', '}', '-Name', 'x'], 'start -n x -e 3 + 3'],
    [['icm', '-Cn', 'a', '-ScriptBlock', '{', '({', 'a:', '1', '})', '}', '-AsJob'], 'start --on a -e ({ a: 1 })'],
    [['Start-Job', '-FilePath', 'a.ts'], 'start a.ts'],
    [['Start-Job', 'a.ts'], 'start a.ts'],
    [['Start-Job', '-ArgumentList', '1,two,3', '{ args }'], 'start --args [1,"two",3] -e args'],
    [['Start-ThreadJob', '-ScriptBlock', '{ 1 }', '-ThrottleLimit', '5'], 'start -e 1 --throttle 5 --engine thread'],
    [['Start-Job', '--', 'sleep', '5'], 'start -- sleep 5'],
    [['Start-Job', '{ n }', '-InitializationScript', '{ globalThis.n = 1 }'], 'start --init globalThis.n = 1 -e n'],
    [['Start-Job', '{ 1 }', '-InputObject', '1,two'], 'start --input [1,"two"] -e 1'],
    [['Start-Job', '-DefinitionName', 'backup'], 'start --job backup'],
    [['Invoke-Command', '-ComputerName', 'a,b', '-ScriptBlock', '{ 1 }'], 'run --on a,b -e 1 --rm'],
    [['icm', 'a', '{ 1 }'], 'run --on a -e 1 --rm'],
    [['icm', '{ 1 }'], 'run -e 1 --rm'],
    [['icm', '-cn', 'a,', 'b', '-command', '{ 1 }', '-AsJob'], 'start --on a,b -e 1'],
    [['icm', '-cn', 'a', '-JobName', 'x', '{ 1 }'], 'start --on a -n x -e 1'],
    [['icm', '-Session', '2,build', '{ 1 }'], 'run --on 2,session:build -e 1 --rm'],
    [['icm', '-cn', 'a', '{ 1 }', '-InDisconnectedSession'], 'start --on a -e 1 --detach'],
    [['icm', '-cn', 'a', '-HideComputerName', '{ 1 }'], 'run --on a --prefix never -e 1 --rm'],
    [['icm', '-cn', 'a', '-FilePath', 'x.ts'], 'run --on a --rm x.ts'],
  ])('%j', ([verb, ...tokens], line) => expect(ours(verb!, ...tokens)).toBe(line))

  it('takes the braces off a script block only where they enclose all of it', () => {
    expect(ours('sajb', '-ScriptBlock', '{ {a: 1} }')).toBe('start -e {a: 1}')
    expect(ours('sajb', '-ScriptBlock', '{ 1 } + { 2 }')).toBe('start -e { 1 } + { 2 }')
  })
  it('refuses what excludes each other', () => {
    expect(() => ours('icm', '-cn', 'a', '-AsJob', '-InDisconnectedSession', '{ 1 }')).toThrow(/exclude/)
  })
})

describe('job cmdlets', () => {
  it.each([
    [['Get-Job'], 'list'],
    [['Get-Job', '1,2', 'Job3'], 'list 1 2 Job3'],
    [['Get-Job', '-Name', 'Job*'], 'list --name Job*'],
    [['Get-Job', '-Name', 'Job1'], 'list Job1'],
    [
      ['gjb', '-State', 'completed', '-IncludeChildJob', '-HasMoreData', '$true'],
      'list --state completed --children --has-more',
    ],
    [['gjb', '-Newest', '2', '-Before', '2026-11-22'], 'list --newest 2 --before 2026-11-22'],
    [['Receive-Job', '-SessionId', '2', '-Keep'], 'receive --keep 2'],
    [['Receive-Job', '-Keep:$false', '-Id', '2'], 'receive 2'],
    [['rcjb', '1', '-Wait', '-AutoRemoveJob', '-Force'], 'receive --wait --auto-remove 1'],
    [['rcjb', '1', '-ComputerName', 'a', '-NoRecurse'], 'receive --location a --no-recurse 1'],
    [['Wait-Job', '-Any', '-Timeout', '5', '-Id', '1,2'], 'wait --any --timeout 5s 1 2'],
    [['Wait-Job', '1', '-Timeout', '-1'], 'wait 1'],
    [['spjb', '-Name', 'x', '-PassThru'], 'stop x'],
    [['Remove-Job', '-Id', '1', '-Force'], 'remove --force 1'],
    [['Start-Process', 'sleep', '-ArgumentList', '5'], 'launch -- sleep 5'],
    [['Suspend-Job', '-Name', 'x', '-Force', '-Wait'], 'suspend x'],
    [['sujb', '1,2'], 'suspend 1 2'],
    [['Resume-Job', '-Id', '3', '-Wait'], 'resume 3'],
    [['rujb', '3'], 'resume 3'],
    [
      ['ForEach-Object', '-Parallel', '{ item * 2 }', '-ThrottleLimit', '3', '-TimeoutSeconds', '9'],
      'map -e item * 2 --throttle 3 --deadline 9s',
    ],
    [['foreach', '-Parallel', 'x => x', '-InputObject', '1,b'], 'map -e x => x --input [1,"b"]'],
    [['saps', '-Args', '5,-x', '-FilePath', 'sleep'], 'launch -- sleep 5 -x'],
  ])('%j', ([verb, ...tokens], line) => expect(ours(verb!, ...tokens)).toBe(line))
})

describe('session cmdlets', () => {
  it.each([
    [['New-PSSession', '-ComputerName', 'a,b', '-Name', 'x'], 'session new -n x a b'],
    [['nsn', 'a'], 'session new a'],
    [['Get-PSSession'], 'session list'],
    [['gsn', '-ComputerName', 'a'], 'session list --on a'],
    [['gsn', 'a'], 'session list --on a'],
    [['gsn', '-State', 'All'], 'session list'],
    [['gsn', '-State', 'Disconnected', '-Id', '3'], 'session list --state Disconnected 3'],
    [['Enter-PSSession', '-computername', 'Server01'], 'enter Server01'],
    [['etsn', '-Session', 'build'], 'enter session:build'],
    [['etsn', '-Id', '3'], 'enter 3'],
    [['Exit-PSSession'], 'exit'],
    [['cnsn', '-Session', '1'], 'session connect 1'],
    [['Connect-PSSession', '-cn', 'a', '-Name', 'x'], 'session connect --on a x'],
    [['cnsn', '1', '-OutputBufferingMode', 'Block'], 'session connect --buffering block 1'],
    [['New-PSSession', 'a', '-OutputBufferingMode', 'Drop'], 'session new --buffering drop a'],
    [
      ['Disconnect-PSSession', '1', '-IdleTimeoutSec', '60', '-OutputBufferingMode', 'Drop'],
      'session disconnect --idle-timeout 60s --buffering drop 1',
    ],
    [['Receive-PSSession', '-Session', '1', '-OutTarget', 'Job'], 'session receive --out-target job 1'],
    [['rsn', '-Id', '1,2'], 'session remove 1 2'],
  ])('%j', ([verb, ...tokens], line) => expect(ours(verb!, ...tokens)).toBe(line))
})

describe('parameters', () => {
  it('may be cut short as long as only one begins so', () => {
    expect(ours('Receive-Job', '-AutoR', '-Wai', '1')).toBe('receive --auto-remove --wait 1')
    expect(() => ours('Get-Job', '-N', 'x')).not.toThrow() // one letter is ours: -n
    expect(() => ours('Invoke-Command', '-Com', 'x')).toThrow(/could be -Command or -ComputerName/)
  })
  it('stand beside our own flags', () => {
    expect(ours('Receive-Job', '1', '-k', '--tail', '3', '--json')).toBe('receive -k --tail 3 --json= 1')
    expect(ours('Get-Job', '--at', 'server01', '2')).toBe('list --at server01 2')
    expect(ours('Start-Job', '-n', 'x', '-e', '-1')).toBe('start -n x -e -1')
  })
  it('that are unknown are refused with the nearest there is', () => {
    expect(() => ours('Receive-Job', '-Kepe', '1')).toThrow(
      expect.objectContaining({ code: 'USAGE', hint: 'did you mean -Keep?' }),
    )
    expect(() => ours('Wait-Job', '-Timeout')).toThrow(/needs a value/)
  })
})

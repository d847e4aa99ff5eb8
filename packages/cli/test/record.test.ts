import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import type { Context } from '../src/context.ts'
import { needsPrefix, RecordPrinter, type PrinterOptions } from '../src/render/record.ts'
import { Terminal } from '../src/terminal.ts'
import { failure, FakeJob } from './fake-peer.ts'
import { contextOf, Sink } from './harness.ts'
import { PassThrough } from 'node:stream'

async function printed(
  job: FakeJob,
  options: Partial<PrinterOptions> = {},
  change: Partial<Context> = {},
): Promise<{ out: string; err: string; bytes: Buffer }> {
  const sinks = { stdout: new Sink(), stderr: new Sink() }
  const printer = new RecordPrinter(contextOf(sinks, change), { prefix: false, raw: false, ...options })
  for (const record of job.records) await printer.print(record)
  printer.failure(job.snapshot)
  return { out: sinks.stdout.text, err: sinks.stderr.text, bytes: Buffer.concat(sinks.stdout.bytes) }
}
const job = (): FakeJob => new FakeJob(1, ['x'], {}, { location: 'server01' })

describe('RecordPrinter', () => {
  it('puts data on stdout and words on stderr, each with its name in front', async () => {
    const { out, err } = await printed(
      job().say(
        { kind: 'output', value: 'text' },
        { kind: 'output', value: { a: 1 } },
        { kind: 'information', value: 'printed' },
        { kind: 'warning', value: 'careful' },
        { kind: 'verbose', value: { deep: true } },
        { kind: 'debug', value: 'here' },
        { kind: 'error', error: new TypeError('boom') },
        { kind: 'gap', dropped: 12 },
        { kind: 'progress', activity: 'x' },
      ),
    )
    expect(out).toBe('text\n{ a: 1 }\nprinted\n')
    expect(err).toBe('WARNING: careful\nVERBOSE: { deep: true }\nDEBUG: here\nERROR: boom\n(12 records lost)\n')
  })
  it('passes on what a program wrote to stderr without a word of ours', async () => {
    const error = Object.assign(new Error('ls: no such file'), { name: 'NativeCommandError' })
    expect((await printed(job().say({ kind: 'error', error }))).err).toBe('ls: no such file\n')
  })
  it('shows the stack of an error only when asked', async () => {
    const error = new Error('boom')
    expect((await printed(job().say({ kind: 'error', error }), {}, { verbose: true })).err).toContain('record.test.ts')
  })
  it('puts the location before each line', async () => {
    const { out, err } = await printed(job().say({ kind: 'output', value: 'a\nb' }, { kind: 'warning', value: 'w' }), {
      prefix: true,
    })
    expect(out).toBe('server01 | a\nserver01 | b\n')
    expect(err).toBe('server01 | WARNING: w\n')
  })
  it('writes bytes as they are only with --raw', async () => {
    const said = job().yields(new Uint8Array([0, 255, 10]))
    expect((await printed(said, { raw: true })).bytes).toEqual(Buffer.from([0, 255, 10]))
    expect((await printed(said)).out).toContain('Uint8Array')
  })
  it('prints one object a line as JSON, with the fields that were picked', async () => {
    const said = job().yields(1, 'x').say({ kind: 'warning', value: 'w' })
    const { out, err } = await printed(said, {}, { json: [] })
    expect(
      out
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { kind: string }).kind),
    ).toEqual(['output', 'output', 'warning'])
    expect(err).toBe('')
    expect((await printed(said, {}, { json: ['seq', 'value'] })).out).toBe(
      '{"seq":0,"value":1}\n{"seq":1,"value":"x"}\n{"seq":2,"value":"w"}\n',
    )
    await expect(printed(said, {}, { json: ['nope'] })).rejects.toMatchObject({ code: 'USAGE' })
  })
  it('says why a job failed, unless its records did', async () => {
    const reason = new Error('boom')
    expect((await printed(job().yields(1).end('Failed', { reason }))).err).toBe('ERROR: boom\n')
    expect((await printed(job().say({ kind: 'error', error: reason }).end('Failed', { reason }))).err).toBe(
      'ERROR: boom\n',
    )
    expect((await printed(job().end('Completed'))).err).toBe('')
  })
  it('does not say the exit code that becomes ours', async () => {
    const failed = job().end('Failed', { reason: failure('COMMAND_EXIT', 'x ended with exit code 3'), exitCode: 3 })
    expect((await printed(failed, { exits: true })).err).toBe('')
    expect((await printed(failed)).err).toBe('ERROR: x ended with exit code 3\n')
  })
  it('keeps one live line on a terminal, off the lines that are printed', async () => {
    const stderr = new Sink(40)
    const stdout = new Sink(40)
    const terminal = new Terminal({ stdin: new PassThrough(), stdout, stderr }, { NO_COLOR: '1' })
    const printer = new RecordPrinter(contextOf({ stdout, stderr }, { terminal }), { prefix: false, raw: false })
    const said = job().say({ kind: 'progress', activity: 'copy', percent: 10 }, { kind: 'output', value: 'x' })
    for (const record of said.records) await printer.print(record)
    printer.failure(said.end().snapshot)
    expect(stripVTControlCharacters(stderr.text)).toBe('copy   10%\r\r\rcopy   10%\r\r\r')
    expect(stderr.text.endsWith('\r\u001b[J\r')).toBe(true)
    expect(stdout.text).toBe('x\n')
  })
})

describe('needsPrefix', () => {
  const at = (location: string): FakeJob => new FakeJob(1, ['x'], {}, { location })
  it('is for several locations, unless said otherwise', () => {
    const both = at('a,b')
    both.children = [at('a'), at('b')]
    expect(needsPrefix(undefined, [both.snapshot])).toBe(true)
    expect(needsPrefix('auto', [at('a').snapshot, at('A').snapshot])).toBe(false)
    expect(needsPrefix('never', [both.snapshot])).toBe(false)
    expect(needsPrefix('always', [at('a').snapshot])).toBe(true)
  })
})

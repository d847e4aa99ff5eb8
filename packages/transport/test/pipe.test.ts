import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { Duplex, duplexPair } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Channel, acceptPipe, openPipe } from '../src/index.ts'
import { failing } from './suites/transport.suite.ts'

const PROTOCOL = { name: '/test/pipe/1', maxFrame: 1 << 20 }

async function child(): Promise<{ process: ChildProcess; channel: Channel }> {
  const program = fileURLToPath(new URL('./fixtures/pipe-child.ts', import.meta.url))
  const started = spawn(process.execPath, ['--conditions=source', program], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
  })
  onTestFinished(() => void started.kill('SIGKILL'))
  return { process: started, channel: await openPipe(started.stdio[3] as Duplex, PROTOCOL) }
}

describe('a pipe', () => {
  test('carries values to a child process and back, and both end in order', async () => {
    const { process: started, channel } = await child()
    const exit = once(started, 'exit')
    const large = new Uint8Array(1_000_000).fill(7)
    const values = channel[Symbol.asyncIterator]()
    await channel.send({ large })
    expect(((await values.next()).value as { large: Uint8Array }).large).toEqual(large)
    await channel.end()
    expect(await values.next()).toEqual({ done: true, value: undefined })
    expect(await channel.closed).toEqual({})
    expect(await exit).toEqual([0, null])
  })

  test('to a child that is killed ends with PEER_UNREACHABLE', async () => {
    const { process: started, channel } = await child()
    started.kill('SIGKILL')
    expect((await channel.closed).error).toEqual(failing('PEER_UNREACHABLE'))
  })

  test('between two that speak different protocols is not opened', async () => {
    const [here, there] = duplexPair({ allowHalfOpen: false })
    const [opened, accepted] = await Promise.allSettled([
      openPipe(here, PROTOCOL),
      acceptPipe(there, { ...PROTOCOL, name: '/test/other/1' }),
    ])
    expect(opened).toEqual({ status: 'rejected', reason: failing('PROTOCOL') })
    expect(accepted).toEqual({ status: 'rejected', reason: failing('PROTOCOL') })
  })

  test('waits for a child that takes its time to begin', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const [here, there] = duplexPair({ allowHalfOpen: false })
    const opening = openPipe(here, PROTOCOL)
    await vi.advanceTimersByTimeAsync(3_600_000)
    const [near, far] = await Promise.all([opening, acceptPipe(there, PROTOCOL)])
    await near.send('late')
    expect(await far[Symbol.asyncIterator]().next()).toEqual({ done: false, value: 'late' })
    near.abort()
    far.abort()
  })

  test('can be given up by either side', async () => {
    const [here, there] = duplexPair({ allowHalfOpen: false })
    const signal = AbortSignal.abort(new Error('no time'))
    const accepting = acceptPipe(there, PROTOCOL)
    await expect(openPipe(here, PROTOCOL, { signal })).rejects.toThrow('no time')
    await expect(accepting).rejects.toThrow('no time')
  })
})

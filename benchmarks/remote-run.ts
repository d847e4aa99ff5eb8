// 2 000 empty `session.run` calls over libp2p on loopback, beside a bare libp2p round trip on the same stack (tcp, tls,
// yamux), both against the same second process, in turns within one run. Prints medians and their ratio.
import { fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createPeer } from '@errand/runtime'
import { libp2p as errandTransport } from '@errand/transport/libp2p'
import { multiaddr } from '@multiformats/multiaddr'
import { bareNode, ECHO } from './bare-node.ts'

const CALLS = 2000
const TURNS = 4

/** Microseconds per call, sorted. */
async function time(calls: number, call: () => Promise<unknown>): Promise<number[]> {
  const taken: number[] = []
  for (let index = 0; index < calls; index++) {
    const begun = performance.now()
    await call()
    taken.push((performance.now() - begun) * 1000)
  }
  return taken
}

const at = (sorted: readonly number[], part: number): number => sorted[Math.floor((sorted.length - 1) * part)]!

function started(child: ChildProcess): Promise<{ ticket: string; bare: string }> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as { ticket: string; bare: string }))
    child.once('exit', (code) => reject(new Error(`the server exited with ${code}`)))
  })
}

export async function remoteRun(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'errand-bench-'))
  const server = fork(fileURLToPath(new URL('./server.ts', import.meta.url)), [folder], {
    execArgv: ['--conditions=source'],
  })
  const node = await bareNode()
  try {
    const { ticket, bare } = await started(server)
    await using peer = await createPeer({
      name: 'client',
      transport: errandTransport({ listen: [], keyFile: join(folder, 'client/key') }),
    })
    await peer.join(ticket)
    await using session = await peer.connect('server')
    const stream = await node.dialProtocol(multiaddr(bare), ECHO)
    const payload = new Uint8Array(100)
    const echo = (): Promise<void> =>
      new Promise((resolve) => {
        let left = payload.length
        const take = (event: { data: { byteLength: number } }): void => {
          left -= event.data.byteLength
          if (left > 0) return
          stream.removeEventListener('message', take as never)
          resolve()
        }
        stream.addEventListener('message', take as never)
        stream.send(payload)
      })
    const run = async (): Promise<void> => {
      await session.run(() => {})
    }
    await time(200, echo)
    await time(200, run)
    const echoes: number[] = []
    const runs: number[] = []
    for (let turn = 0; turn < TURNS; turn++) {
      echoes.push(...(await time(CALLS / TURNS, echo)))
      runs.push(...(await time(CALLS / TURNS, run)))
    }
    echoes.sort((a, b) => a - b)
    runs.sort((a, b) => a - b)
    console.log(`remote-run-empty   ${CALLS} calls, two processes, libp2p (tcp, tls, yamux) on loopback, memory store`)
    console.log(
      `  bare libp2p round trip, 100 bytes   p50 ${at(echoes, 0.5).toFixed(0)} µs   p99 ${at(echoes, 0.99).toFixed(0)} µs`,
    )
    console.log(
      `  session.run(() => {})               p50 ${at(runs, 0.5).toFixed(0)} µs   p99 ${at(runs, 0.99).toFixed(0)} µs`,
    )
    console.log(`  ratio of the medians                ${(at(runs, 0.5) / at(echoes, 0.5)).toFixed(1)}`)
  } finally {
    await node.stop()
    server.kill('SIGTERM')
    await new Promise((resolve) => server.once('exit', resolve))
    rmSync(folder, { recursive: true, force: true })
  }
}

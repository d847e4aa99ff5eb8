// Empty `session.run` calls over libp2p on loopback, beside a bare libp2p round trip on the same stack, both against the
// same second process, in turns within one run.
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createPeer } from '@errand/runtime'
import { libp2p as errandTransport } from '@errand/transport/libp2p'
import { multiaddr } from '@multiformats/multiaddr'
import { ECHO, bareNode } from './bare-node.ts'
import { type Row, inTurns, row, typical } from './transport/row.ts'
import { MESSAGE, roundTrip, streamWire } from './transport/wire.ts'

const CALLS = 400
const TURNS = 5

function started(child: ChildProcess): Promise<{ ticket: string; bare: string }> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as { ticket: string; bare: string }))
    child.once('exit', (code) => reject(new Error(`the server exited with ${code}`)))
  })
}

export async function* remoteRun(): AsyncGenerator<Row> {
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
    const stream = streamWire(await node.dialProtocol(multiaddr(bare), ECHO))
    const message = new Uint8Array(MESSAGE)
    const times = await inTurns(TURNS, {
      run: () => typical(CALLS, async () => session.run(() => {})),
      echo: () => typical(CALLS, () => roundTrip(stream, message)),
    })
    yield row({
      suite: 'session',
      case: 'remote-run-empty',
      unit: 'µs',
      ours: times.run,
      peer: times.echo,
      peerName: 'round trip of a bare libp2p stream, 100 bytes',
    })
  } finally {
    await node.stop()
    server.kill('SIGTERM')
    await new Promise((resolve) => server.once('exit', resolve))
    rmSync(folder, { recursive: true, force: true })
  }
}

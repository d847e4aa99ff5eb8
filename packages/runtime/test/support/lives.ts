// One peer through several lives: killed without warning, and started again over the same disk. Whoever made it closes it.
import { type MemoryNetwork, memory } from '@errand/transport/memory'
import { createPeer, type Peer, type PeerOptions } from '../../src/index.ts'
import { keptDisk, type KeptDisk } from './kept-store.ts'

export class Lives implements AsyncDisposable {
  readonly disk: KeptDisk
  readonly #name: string
  readonly #network: MemoryNetwork | undefined
  readonly #options: PeerOptions
  readonly #dead: Peer[] = []
  #peer: Peer | undefined
  #life = 0

  constructor(options: PeerOptions & { name?: string; network?: MemoryNetwork; disk?: KeptDisk } = {}) {
    const { name = 'here', network, disk = keptDisk(), ...rest } = options
    this.disk = disk
    this.#name = name
    this.#network = network
    this.#options = rest
  }

  get peer(): Peer {
    if (!this.#peer) throw new Error(`${this.#name} is dead`)
    return this.#peer
  }

  /** `writes`: it dies when so many have reached its disk. */
  async start(options: { writes?: number } = {}, changes: PeerOptions = {}): Promise<Peer> {
    const network = this.#network
    const transport = network && { transport: memory({ network, name: this.#name }) }
    const store = this.disk.open(options)
    // Who dies of its disk is cut off in the same instant.
    if (options.writes !== undefined) void this.disk.killed.then(() => network?.kill(this.#name))
    const life = ++this.#life
    const peer = await createPeer({ name: this.#name, ...transport, ...this.#options, ...changes, store })
    // Killed while it started, it may come to be all the same, and long after the next one.
    if (life === this.#life) this.#peer = peer
    else this.#dead.push(peer)
    return peer
  }

  /** As SIGKILL does. */
  kill(): void {
    this.#life++
    this.disk.kill()
    this.#network?.kill(this.#name)
    if (this.#peer) this.#dead.push(this.#peer)
    this.#peer = undefined
  }

  async again(changes: PeerOptions = {}): Promise<Peer> {
    this.kill()
    return this.start({}, changes)
  }

  /** In order. */
  async close(): Promise<void> {
    const peer = this.#peer
    this.#peer = undefined
    await peer?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disk.full(false)
    await this.close()
    // What is left of those who died is in this process, and would outlive the test.
    this.disk.bury()
    await Promise.all(this.#dead.map((peer) => peer.close()))
  }
}

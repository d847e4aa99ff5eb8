// Signs of life on one channel, and the decision that a peer is dead.

export interface Pulse {
  /** Nothing was sent for an interval: say something. */
  beat(): void
  /** The peer has been silent for too long. Called once. */
  silent(): void
  /** True while we do not listen ourselves; then silence says nothing about the peer. */
  deaf(): boolean
}

/** Beats and listens until stopped. Its timer never keeps a process alive. */
export class Heartbeat {
  readonly #suspicion: number
  readonly #interval: number
  readonly #period: number
  readonly #pulse: Pulse
  readonly #timer: NodeJS.Timeout
  #heardAt = performance.now()
  #sentAt = performance.now()
  #tickAt = performance.now()
  #suspected = false

  constructor(times: { readonly interval: number; readonly suspicion: number }, pulse: Pulse) {
    this.#interval = times.interval
    this.#suspicion = times.suspicion
    this.#period = Math.max(5, Math.min(times.interval, times.suspicion / 2) / 2)
    this.#pulse = pulse
    this.#timer = setInterval(() => this.#tick(), this.#period).unref()
  }

  heard(): void {
    this.#heardAt = performance.now()
    this.#suspected = false
  }

  sent(): void {
    this.#sentAt = performance.now()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    const now = performance.now()
    // A late tick means that it was us who stood still (a long computation, SIGSTOP, a suspended machine). Timers run
    // before the loop reads what the kernel has kept for us, so no judgement now: only silence over two ticks in a
    // row, with the reading in between, counts.
    if (now - this.#tickAt > 2 * this.#period) this.#suspected = false
    this.#tickAt = now
    if (this.#pulse.deaf()) this.heard()
    const silence = now - this.#heardAt
    if (this.#suspected && silence >= this.#suspicion) {
      this.stop()
      this.#pulse.silent()
      return
    }
    this.#suspected = silence >= this.#suspicion - this.#period
    if (now - this.#sentAt >= this.#interval - this.#period / 2) this.#pulse.beat()
  }
}

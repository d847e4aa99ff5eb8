// Signs of life on one channel, and the decision that a peer is dead.

import { type Clock, type Timer, systemClock } from './clock.ts'

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
  readonly #clock: Clock
  readonly #timer: Timer
  #heardAt: number
  #sentAt: number
  #tickAt: number
  #suspected = false
  /** Times that we have read and found nothing, after the peer's time was up. */
  #readings = 0
  #afterReading: NodeJS.Immediate | undefined

  constructor(times: { readonly interval: number; readonly suspicion: number }, pulse: Pulse, clock = systemClock) {
    this.#interval = times.interval
    this.#suspicion = times.suspicion
    this.#period = Math.max(5, Math.min(times.interval, times.suspicion / 2) / 2)
    this.#pulse = pulse
    this.#clock = clock
    this.#heardAt = this.#sentAt = this.#tickAt = clock.now()
    this.#timer = clock.every(this.#period, () => this.#tick())
  }

  heard(): void {
    this.#heardAt = this.#clock.now()
    this.#suspected = false
    this.#readings = 0
  }

  sent(): void {
    this.#sentAt = this.#clock.now()
  }

  stop(): void {
    this.#timer.stop()
    clearImmediate(this.#afterReading)
  }

  #tick(): void {
    const now = this.#clock.now()
    // A late tick means that it was us who stood still (a long computation, SIGSTOP, a suspended machine). Timers run
    // before the loop reads what the kernel has kept for us, so no judgement now: only silence over two ticks in a
    // row, with the reading in between, counts.
    if (now - this.#tickAt > 2 * this.#period) this.#suspected = false
    this.#tickAt = now
    if (this.#pulse.deaf()) this.heard()
    if (this.#suspected && now - this.#heardAt >= this.#suspicion) {
      this.stop()
      this.#pulse.silent()
      return
    }
    if (this.#isSuspicious(now)) this.#suspectAfterReading()
    else this.#suspected = false
    if (now - this.#sentAt >= this.#interval - this.#period / 2) this.#pulse.beat()
  }

  #isSuspicious(now: number): boolean {
    return now - this.#heardAt >= this.#suspicion - this.#period
  }

  /** A busy loop runs a timer twice before it reads once; what is behind the reading is an immediate. */
  #suspectAfterReading(): void {
    if (this.#suspected) return
    this.#afterReading ??= setImmediate(() => {
      this.#afterReading = undefined
      const now = this.#clock.now()
      this.#suspected = this.#isSuspicious(now)
      // After two such readings ticks may be as late as they like: a loop that is always busy still finds the dead.
      this.#readings = now - this.#heardAt >= this.#suspicion ? this.#readings + 1 : 0
      if (this.#readings < 2) return
      this.stop()
      this.#pulse.silent()
    })
  }
}

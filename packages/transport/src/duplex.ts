// What a channel asks of a carrier: bytes in order, a way to say "wait", an end, and news of the end. Nothing else.

/**
 * Bytes to and from one peer, for one channel. Implementations never throw, never call the sink from within `attach`
 * or `write`, and call `closed` exactly once, whatever happens — also after `destroy`.
 */
export interface ByteDuplex {
  /** Once, before anything else. Bytes that arrived earlier are delivered afterwards. */
  attach(sink: DuplexSink): void
  /** Takes the bytes in any case and never copies them: they must not change any more. False: full, `drained` will follow. */
  write(bytes: Uint8Array): boolean
  /** Asks for no more data. What is on its way may still come: at most the carrier's window. */
  pause(): void
  resume(): void
  /** No more from us, behind what was written. The carrier is closed once the peer has ended too. */
  end(): void
  /**
   * Lets go at once; bytes not yet out are lost. `silent` says that the peer has given no sign of life: whatever the
   * carrier shares between channels with it is dead too and goes with it.
   */
  destroy(silent?: boolean): void
}

export interface DuplexSink {
  data(bytes: Uint8Array): void
  drained(): void
  /** Gone. Without error exactly when both sides had ended. All data that arrived has been delivered before. */
  closed(error?: Error): void
}

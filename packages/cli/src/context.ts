// What a command is given: never a global, so that a test can be the terminal, the signals and the peer.
import type { LocalPeer } from '@errand/runtime/client'
import type { Flags } from './flags.ts'
import type { Terminal } from './terminal.ts'

/** A signal as the process gets it. `process` is one; so is an EventEmitter in a test. */
export interface Signals {
  on(name: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown
  off(name: 'SIGINT' | 'SIGTERM' | 'SIGHUP', listener: () => void): unknown
}

export interface Context {
  readonly terminal: Terminal
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Key, store and socket of this machine's peer. */
  readonly home: string
  /** Data as JSON; the fields picked with `--json=…`, none for all. */
  readonly json: readonly string[] | undefined
  readonly verbose: boolean
  readonly quiet: boolean
  /** Answer yes to every question. */
  readonly yes: boolean
  /** The verb was typed as a cmdlet: tables have PowerShell's columns. */
  readonly cmdlet: boolean
  /** Ends when `--timeout` has run out; its reason is a Failure TIMEOUT. */
  readonly signal: AbortSignal
  readonly signals: Signals
  /**
   * This machine's peer, started if need be. One per command; closed by whoever made the context. `patient`: for what follows
   * jobs, one that goes is waited for, 10 s: started again over its store, it goes on with them. `again`: anew, the one before
   * is closed. `signal`: beside our own, for who does not wait for it as long as the command may.
   */
  connect(o?: { start?: boolean; patient?: boolean; again?: boolean; signal?: AbortSignal }): Promise<LocalPeer>
}

/** What a command does. Resolves to its exit code; what it throws is said and becomes one. */
export type Verb = (context: Context, flags: Flags, words: readonly string[]) => Promise<number>

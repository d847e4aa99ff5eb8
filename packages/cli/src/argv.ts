// Takes a command line apart before commander sees it. Two things need it: global options stand before and after the
// verb alike, and in `run --on server01 ls -la` everything from `ls` on belongs to the command, not to us.

/** What stands behind a flag: nothing, a value, or a value only after `=` (`--json=id,state`). */
export type Takes = 'nothing' | 'value' | 'attached'

/** By the flag as typed: `--on`, `-n`. Unknown flags take nothing here; commander refuses them later, by name. */
export type Shapes = ReadonlyMap<string, Takes>

export interface Scanned {
  /** Flags with their values, as commander takes them. */
  readonly options: readonly string[]
  readonly words: readonly string[]
  /** What followed `--`; undefined when there was none. */
  readonly rest: readonly string[] | undefined
  /** What followed the word at which the scan was told to stop. */
  readonly after: readonly string[]
}

/** Sorts tokens into options and words; `stop` ends the scan after a word. */
export function scan(
  tokens: readonly string[],
  shapes: Shapes,
  stop: (words: readonly string[]) => boolean = () => false,
): Scanned {
  const options: string[] = []
  const words: string[] = []
  let index = 0
  const take = (): void => {
    const value = tokens[index + 1]
    if (value === undefined) return
    options.push(value)
    index++
  }
  for (; index < tokens.length; index++) {
    const token = tokens[index]!
    if (token === '--') return { options, words, rest: tokens.slice(index + 1), after: [] }
    if (token === '-' || !token.startsWith('-')) {
      words.push(token)
      if (stop(words)) return { options, words, rest: undefined, after: tokens.slice(index + 1) }
    } else if (token.startsWith('--')) {
      const takes = shapes.get(token)
      // commander would take the next word as the value of a flag whose value is optional: `--json 3`.
      options.push(takes === 'attached' ? `${token}=` : token)
      if (takes === 'value') take()
    } else {
      options.push(token)
      if (valueIsNext(token, shapes)) take()
    }
  }
  return { options, words, rest: undefined, after: [] }
}

/** In `-kn web` the value is the next token, in `-knweb` it is attached. */
function valueIsNext(cluster: string, shapes: Shapes): boolean {
  for (let at = 1; at < cluster.length; at++) {
    if (shapes.get(`-${cluster[at]}`) === 'value') return at === cluster.length - 1
  }
  return false
}

export interface CommandLine {
  /** `start`, `session list`; undefined when no word was typed. */
  readonly verb: string | undefined
  /** The word after a group's name, when there was one. */
  readonly subverb: string | undefined
  /** Options that stood before the verb, and what came after it. */
  readonly before: readonly string[]
  readonly after: readonly string[]
}

/** Finds the verb. `isGroup` says which first words need a second. */
export function splitVerb(argv: readonly string[], shapes: Shapes, isGroup: (word: string) => boolean): CommandLine {
  const first = scan(argv, shapes, () => true)
  const verb = first.words[0]
  if (verb === undefined) return { verb, subverb: undefined, before: first.options, after: first.rest ?? [] }
  if (!isGroup(verb)) return { verb, subverb: undefined, before: first.options, after: first.after }
  const second = scan(first.after, shapes, () => true)
  const before = [...first.options, ...second.options]
  return { verb, subverb: second.words[0], before, after: second.after }
}

/** The words of a command that does work: those before the first word are ours, the rest is the work's own. */
export interface WorkLine {
  readonly options: readonly string[]
  readonly words: readonly string[]
  /** `--` stood before the words: they are a command whatever they look like. */
  readonly dashed: boolean
}

/** Splits what follows `start`, `run` or `launch`. A FILE takes no words of its own, so our options may follow it. */
export function splitWork(tokens: readonly string[], shapes: Shapes): WorkLine {
  const all = scan(tokens, shapes, (words) => !looksLikeFile(words[0]!))
  if (all.words.length === 0) return { options: all.options, words: all.rest ?? [], dashed: all.rest !== undefined }
  return { options: all.options, words: [...all.words, ...(all.rest ?? []), ...all.after], dashed: false }
}

/** FILE.ts[#export]. The extension decides; `--` before it makes any word a command. */
export function looksLikeFile(word: string): boolean {
  return /\.[cm]?[jt]sx?(?:#[\p{ID_Start}$_][\p{ID_Continue}$]*)?$/u.test(word)
}

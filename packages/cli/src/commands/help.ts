// errand help: a command, or something worth knowing about all of them.
import type { Context } from '../context.ts'
import { EXIT } from '../exit-codes.ts'
import { usage } from '../failure.ts'
import type { Flags } from '../flags.ts'
import { COMMANDS } from '../grammar.ts'
import { commandHelp, groupHelp, overview } from '../help-text.ts'
import { isCmdlet, spell } from '../powershell.ts'
import { nearest } from '../suggestion.ts'
import { TOPICS } from '../topics.ts'

export default async function help({ terminal }: Context, _flags: Flags, words: readonly string[]): Promise<number> {
  const word = words.join(' ').toLowerCase()
  const topic = TOPICS.find(({ name }) => name === word)
  if (word === '') await terminal.out(overview())
  else if (topic) {
    // A command that there is more to say of than its options.
    const command = COMMANDS.find(({ path }) => path === topic.name)
    await terminal.out(`${command ? `${commandHelp(command, true)}\n` : ''}${await topic.text()}`)
  } else {
    const path = isCmdlet(word) ? spell(word, []).path : word
    const command = COMMANDS.find((one) => one.path === path)
    const group = COMMANDS.filter((one) => one.path.startsWith(`${path} `))
    if (command) await terminal.out(commandHelp(command, true))
    else if (group.length > 0) await terminal.out(groupHelp(path))
    else {
      const near = nearest(word, [...COMMANDS.map((one) => one.path), ...TOPICS.map(({ name }) => name)])
      throw usage(`there is no help on '${word}'`, near && `did you mean ${near}?`)
    }
  }
  return EXIT.done
}

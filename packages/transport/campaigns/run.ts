// npm run -s campaign -- NAME [ARGUMENTS…]: what takes too long, or needs too much, for the test command. A campaign is a
// file beside this one that exports `run(args)`; it prints what it saw and throws where a promise was broken.
import { readdirSync } from 'node:fs'

const names = readdirSync(new URL('.', import.meta.url))
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .map((file) => file.slice(0, -'.ts'.length))
const [name, ...args] = process.argv.slice(2)
if (name === undefined || !names.includes(name)) {
  console.error(`${name === undefined ? 'which campaign' : `no campaign ${name}`}? There are: ${names.join(', ')}`)
  process.exit(2)
}
const { run } = (await import(`./${name}.ts`)) as { run: (args: readonly string[]) => Promise<void> }
await run(args)

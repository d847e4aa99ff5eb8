// npm run -s campaign -- NAME [ARGUMENTS…]: what takes too long, or needs too much, for the test command. A campaign is a
// file beside this one, or in another package's folder of that name, that exports `run(args)`; it prints what it saw and
// throws where a promise was broken.
import { readdirSync } from 'node:fs'

const campaigns = new Map(
  ['./', '../../runtime/campaigns/'].flatMap((folder) =>
    readdirSync(new URL(folder, import.meta.url))
      .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
      .map((file) => [file.slice(0, -'.ts'.length), `${folder}${file}`] as const),
  ),
)
const [name, ...args] = process.argv.slice(2)
const file = name === undefined ? undefined : campaigns.get(name)
if (file === undefined) {
  const names = [...campaigns.keys()].join(', ')
  console.error(`${name === undefined ? 'which campaign' : `no campaign ${name}`}? There are: ${names}`)
  process.exit(2)
}
const { run } = (await import(file)) as { run: (args: readonly string[]) => Promise<void> }
await run(args)

// npm run bench [-- NAME…]: ours beside the peers, in the same run. Without names: all.
import { remoteRun } from './remote-run.ts'

const cases: Record<string, () => Promise<void>> = { 'remote-run-empty': remoteRun }
const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !Object.hasOwn(cases, name))
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(', ')}; there are: ${Object.keys(cases).join(', ')}`)
  process.exit(2)
}
for (const name of asked.length > 0 ? asked : Object.keys(cases)) await cases[name]!()

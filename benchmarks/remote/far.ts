// The second process of the remote benchmarks: serves one engine. Ends when its parent lets go of it.

import { rivals } from './rivals.ts'

const [name = '', where = ''] = process.argv.slice(2)
const rival = await rivals[name]?.()
if (rival === undefined) throw new Error(`no engine ${name}`)
process.once('disconnect', () => process.exit(0))
process.send?.(await rival.serve(where))

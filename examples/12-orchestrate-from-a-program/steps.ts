// What the pipeline does. Each step is done elsewhere and travels as its own text: all it uses stands inside it.
import type { ScriptContext } from '@errand/runtime/client'

/** What is built, tested and deployed: an ES module. */
export interface Bundle {
  readonly code: string
  readonly hash: string
}

/** What one machine found. */
export interface Report {
  readonly location: string
  readonly passed: number
  readonly failed: number
}

/** Fetches the source and makes JavaScript of it. */
export async function build(ctx: ScriptContext, url: string): Promise<Bundle> {
  const { createHash } = await import('node:crypto')
  const { stripTypeScriptTypes } = await import('node:module')
  const answer = await fetch(url, { signal: ctx.signal })
  if (!answer.ok) throw new Error(`the source cannot be had: ${answer.status} ${answer.statusText}`)
  const code = stripTypeScriptTypes(await answer.text())
  return { code, hash: createHash('sha256').update(code).digest('hex').slice(0, 8) }
}

/** Holds the bundle against its cases, on the machine where it is done. */
export async function test(ctx: ScriptContext, bundle: Bundle): Promise<Report> {
  const { double } = (await import(`data:text/javascript,${encodeURIComponent(bundle.code)}`)) as {
    double: (n: number) => number
  }
  const cases = Array.from({ length: 16 }, (_, index) => index / 2)
  let passed = 0
  for (const [index, n] of cases.entries()) {
    await ctx.sleep(100) // tests take their time
    if (double(n) === n + n) passed++
    else ctx.error(new Error(`double(${n}) is ${double(n)}`))
    if (index % 4 === 3) ctx.progress({ activity: 'test', percent: ((index + 1) / cases.length) * 100 })
  }
  return { location: ctx.location, passed, failed: cases.length - passed }
}

/** Asks first. Resolves to where the bundle is now. */
export async function deploy(ctx: ScriptContext, bundle: Bundle): Promise<string> {
  const { writeFile } = await import('node:fs/promises')
  const path = await import('node:path')
  const answer: unknown = await ctx.ask({ prompt: `deploy ${bundle.hash}?`, choices: ['yes', 'no'] })
  if (answer !== 'yes') throw new Error(`${bundle.hash} is not to be deployed`)
  const place = path.join(ctx.cwd, `${bundle.hash}.mjs`)
  await writeFile(place, bundle.code)
  return place
}

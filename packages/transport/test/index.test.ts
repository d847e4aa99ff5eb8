import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'

/** What a fresh process loads when it imports this entry of the package. */
async function loadedBy(entry: string): Promise<string[]> {
  const program = `
    import { registerHooks } from 'node:module'
    const loaded = []
    registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context) } })
    await import(${JSON.stringify(new URL(`../src/${entry}.ts`, import.meta.url).href)})
    console.log(JSON.stringify(loaded))
  `
  const args = ['--conditions=source', '--input-type=module', '-e', program]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout) as string[]
}

const isNetwork = (url: string): boolean => /libp2p|multiformats/.test(url.replace(/^.*\/packages\//, ''))

describe('the entries of the package', () => {
  test.each(['index', 'socket', 'memory'])('%s loads neither libp2p nor anything of it', async (entry) => {
    const loaded = await loadedBy(entry)
    expect(loaded.some((url) => url.endsWith('/src/channel.ts') || url.endsWith('/src/codec.ts'))).toBe(true)
    expect(loaded.filter(isNetwork)).toEqual([])
  })

  test('libp2p does (so the test above can fail)', async () => {
    expect((await loadedBy('libp2p')).some(isNetwork)).toBe(true)
  })
})

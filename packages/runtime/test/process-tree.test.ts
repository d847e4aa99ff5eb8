// Nothing of a process outlives it that should not: the tree when it is ended, and after the death of its owner.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { MARK, spawnTree, type ProcessTree } from '../src/engine/process-tree.ts'

const linux = process.platform === 'linux'

/** A process that is only in the system's books; its number is above any that the system gives, unless it says another. */
interface Stranger {
  id: number
  group?: number
  born?: string
  /** What is read of it; an Error where that cannot be. */
  stat?: () => Error | undefined
  environ: () => string | Error
}

/** What is seen of the system: what there is, and some strangers. */
const books = vi.hoisted(() => ({
  looks: 0,
  /** Of these the environment was asked for. */
  asked: [] as number[],
  strangers: [] as Stranger[],
  /** There is nobody else. */
  alone: false,
  /** Called when the list of processes has been made, and before any of them is looked at. */
  onLook: (_look: number): void => {},
}))

vi.mock('node:fs', async (original) => {
  const fs = await original<typeof import('node:fs')>()
  const stranger = (path: unknown, file: string) => books.strangers.find(({ id }) => path === `/proc/${id}/${file}`)
  const given = (what: string | Error): string => {
    if (typeof what === 'string') return what
    throw what
  }
  return {
    ...fs,
    readdirSync: (path: string, ...rest: []) => {
      if (path !== '/proc') return fs.readdirSync(path, ...rest)
      const names = [...(books.alone ? [] : fs.readdirSync(path)), ...books.strangers.map(({ id }) => String(id))]
      books.onLook(++books.looks)
      return names
    },
    readFileSync: (path: string, ...rest: []) => {
      const numbers = stranger(path, 'stat')
      if (numbers) {
        const { id, group = id, born = '1' } = numbers
        return given(numbers.stat?.() ?? `${id} (a ) b) S 1 ${group} ${group} 0 -1${' 0'.repeat(13)} ${born} 4096 1`)
      }
      const id = /^\/proc\/(\d+)\/environ$/.exec(path)?.[1]
      if (id) books.asked.push(Number(id))
      const asked = stranger(path, 'environ')
      return asked ? given(asked.environ()) : fs.readFileSync(path, ...rest)
    },
  }
})

const failure = (code: string): Error => Object.assign(new Error(code), { code })

/** Processes whose environment holds this text. */
function marked(mark: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return []
    try {
      const state = readFileSync(`/proc/${name}/stat`, 'latin1').replace(/^.*\) /, '')[0]
      return state !== 'Z' && readFileSync(`/proc/${name}/environ`, 'latin1').includes(mark) ? [Number(name)] : []
    } catch {
      return []
    }
  })
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20))
}

describe.skipIf(!linux)('a process tree (needs /proc)', () => {
  it('ends with its grandchildren, also those that left its group', async () => {
    const mark = `ERRAND_TEST=${crypto.randomUUID()}`
    const script = '(setsid sleep 300 &) ; sleep 300 & sleep 300'
    const [key, value] = mark.split('=') as [string, string]
    const tree = spawnTree('sh', ['-c', script], { env: { ...process.env, [key]: value }, stdio: 'ignore' })
    await until(() => marked(mark).length >= 4)
    await tree.end()
    expect(marked(mark)).toEqual([])
  })

  it('ends after its owner was killed: the reaper sees to it', async () => {
    const mark = `ERRAND_TEST=${crypto.randomUUID()}`
    const [key, value] = mark.split('=') as [string, string]
    const program = `
      const { spawnTree } = await import(${JSON.stringify(fileURLToPath(new URL('../src/engine/process-tree.ts', import.meta.url)))})
      spawnTree('sh', ['-c', '(setsid sleep 300 &) ; sleep 300'], { stdio: 'ignore' })
      console.log('started')
      setInterval(() => {}, 1000)`
    const owner = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      env: { ...process.env, [key]: value },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(owner.stdout, 'data')
    // owner, reaper, sh, two sleeps
    await until(() => marked(mark).length >= 5)
    owner.kill('SIGKILL')
    await until(() => marked(mark).length === 0)
    expect(marked(mark)).toEqual([])
  })

  it('ends also when nothing else is left to do for its owner', async () => {
    const program = `
      const { spawnTree } = await import(${JSON.stringify(fileURLToPath(new URL('../src/engine/process-tree.ts', import.meta.url)))})
      const tree = spawnTree('sleep', ['300'], { stdio: 'ignore' })
      tree.child.unref()
      const { readFileSync } = await import('node:fs')
      // Dead; whether its parent has heard of it yet is another matter.
      const state = () => {
        try {
          return readFileSync('/proc/' + tree.pid + '/stat', 'latin1').replace(/^.*\\) /, '')[0]
        } catch {
          return 'Z'
        }
      }
      void tree.end().then(() => console.log('ended', state()))`
    const owner = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const said: Buffer[] = await owner.stdout.toArray()
    expect(said.join('')).toBe('ended Z\n')
  })
})

describe.skipIf(!linux)('looking for what is left of a process tree', () => {
  const STRANGER = 5_000_001
  /** Who was sent SIGKILL; a stranger goes by that. */
  let killed: number[]
  let trees: ProcessTree[]

  beforeEach(() => {
    killed = []
    trees = []
    Object.assign(books, { looks: 0, asked: [], strangers: [], alone: false, onLook: () => {} })
    const kill = process.kill.bind(process)
    vi.spyOn(process, 'kill').mockImplementation((id, signal) => {
      if (signal === 'SIGKILL') killed.push(id)
      const place = books.strangers.findIndex((one) => one.id === id)
      if (place < 0) return kill(id, signal)
      books.strangers.splice(place, 1)
      return true
    })
  })
  afterEach(async () => {
    vi.restoreAllMocks()
    Object.assign(books, { strangers: [], alone: false, onLook: () => {} })
    await Promise.all(trees.map((tree) => tree.end()))
  })

  function start(script: string): ProcessTree {
    const tree = spawnTree('sh', ['-c', script], { stdio: 'ignore' })
    trees.push(tree)
    return tree
  }
  async function markOf(tree: ProcessTree): Promise<string> {
    // In the middle of an exec there is none.
    let mark: string | undefined
    await until(() => {
      const environment = readFileSync(`/proc/${tree.pid}/environ`, 'latin1').split('\0')
      mark = environment.find((entry) => entry.startsWith(`${MARK}=`))
      return mark !== undefined
    })
    return mark!
  }

  async function died({ child, pid }: ProcessTree): Promise<void> {
    process.kill(pid, 'SIGKILL')
    await once(child, 'exit')
  }

  it('one look is enough for all that are ended in one turn', async () => {
    const many = Array.from({ length: 6 }, () => start('sleep 300 & sleep 300'))
    const marks = await Promise.all(many.map(markOf))
    await until(() => marks.every((mark) => marked(mark).length === 3))
    books.looks = 0
    const ends = many.map((tree) => tree.end())
    await new Promise((resolve) => setImmediate(resolve))
    expect(books.looks).toBe(1)
    expect(killed).toEqual(expect.arrayContaining(many.map(({ pid }) => pid)))
    await Promise.all(ends)
    expect(marks.flatMap(marked)).toEqual([])
  })

  it('it ends also who started while it was looked for', async () => {
    const tree = start('exec sleep 300')
    const mark = await markOf(tree)
    const [key, value] = mark.split('=') as [string, string]
    books.looks = 0
    books.onLook = (look) => {
      if (look === 1)
        spawn('sleep', ['300'], { detached: true, stdio: 'ignore', env: { ...process.env, [key]: value } })
    }
    await tree.end()
    expect(marked(mark)).toEqual([])
  })

  it('it ends also who was started by one that had gone before it was looked at', async () => {
    const tree = start('exec sleep 300')
    const mark = await markOf(tree)
    await died(tree)
    const child: Stranger = { id: STRANGER + 1, environ: () => `A=1\0${mark}\0` }
    // It is in the list, and no more when it is asked for; what it started is not.
    books.strangers = [{ id: STRANGER, stat: () => failure('ENOENT'), environ: () => failure('ENOENT') }]
    books.onLook = () => queueMicrotask(() => (books.strangers = books.looks === 1 ? [child] : books.strangers))
    books.looks = 0
    await tree.end()
    expect(killed).toContain(child.id)
  })

  it.each(['stat', 'environ'] as const)('nobody is missed who may not be looked at: his %s', async (file) => {
    const tree = start('exec sleep 300')
    await died(tree)
    books.alone = true
    books.strangers = [{ id: STRANGER, environ: () => failure('EACCES'), [file]: () => failure('EACCES') }]
    books.looks = 0
    await tree.end()
    expect(books.looks).toBe(1)
  })

  it('it does not wait for a quiet moment of the system', async () => {
    const tree = start('exec sleep 300')
    await died(tree)
    let id = STRANGER
    books.onLook = () => {
      books.strangers = [{ id: id++, stat: () => failure('ENOENT'), environ: () => failure('ENOENT') }]
    }
    books.looks = 0
    await tree.end()
    expect(books.looks).toBeLessThan(10)
  })

  it('whose it is is asked once of a process, not of the number', async () => {
    const [first, second, third] = [start('exec sleep 300'), start('exec sleep 300'), start('exec sleep 300')] as const
    const [, ofSecond, ofThird] = await Promise.all([first, second, third].map(markOf))
    const stranger: Stranger = { id: STRANGER, born: '100', environ: () => 'A=1\0' }
    books.strangers = [stranger]
    await first.end()
    stranger.environ = () => `${ofSecond}\0`
    await second.end()
    expect(killed).not.toContain(STRANGER)
    expect(books.asked.filter((id) => id === STRANGER)).toHaveLength(1)
    stranger.born = '200'
    stranger.environ = () => `${ofThird}\0`
    await third.end()
    expect(killed).toContain(STRANGER)
  })

  it.each([
    ['it was between two programs', () => ''],
    ['no file could be opened', () => failure('EMFILE')],
  ])('whose it is is asked again where %s', async (_, atFirst) => {
    const tree = start('exec sleep 300')
    const mark = await markOf(tree)
    const answers = [atFirst()]
    books.strangers = [{ id: STRANGER, environ: () => answers.shift() ?? `${mark}\0` }]
    await tree.end()
    expect(killed).toContain(STRANGER)
  })

  it.each(['the list', 'a process'])('it looks again where %s could not be opened', async (what) => {
    const tree = start('exec sleep 300')
    const mark = await markOf(tree)
    await died(tree)
    const errors = [failure('EMFILE')]
    books.strangers = [
      { id: STRANGER, stat: () => (what === 'a process' ? errors.shift() : undefined), environ: () => `${mark}\0` },
    ]
    books.onLook = () => {
      const error = what === 'the list' && errors.shift()
      if (error) throw error
    }
    await tree.end()
    expect(killed).toContain(STRANGER)
  })

  it('it lets be who has the number of a process that has gone, and his group', async () => {
    const tree = start('exec sleep 300')
    await died(tree)
    const { pid } = tree
    killed = []
    books.strangers = [
      { id: pid, born: '9', environ: () => 'A=1\0' },
      { id: STRANGER, group: pid, environ: () => 'A=1\0' },
    ]
    await tree.end()
    expect(killed).toEqual([])
  })
})

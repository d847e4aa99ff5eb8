// npm run packages: packs the three packages as they would be published, looks at what is in them, and then does
// with them what somebody does who has nothing else: installs the tarballs into an empty folder with npm, compiles and
// runs a program against them, and lets two peers of `npx errand` work with each other.
// Where a FOLDER is named (`npm run pack`), they are looked at only, and left there. Needs what `npm run build` makes.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join, posix, resolve } from 'node:path'

const root = join(import.meta.dirname, '..')
const bin = join(root, 'node_modules/.bin')
const names = ['transport', 'runtime', 'cli'] as const
const { packageManager } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { packageManager: string }

/** The machine's own npm under the machine's own Node, whichever those are. */
const machine = pathWithout(bin)
/** The pinned Node, and the machine's npx. */
const pinned = `${dirname(process.execPath)}${delimiter}${machine}`
/** Longer than this no step takes, in milliseconds; an installation depends on a network. */
const LIMIT = 300_000

function pathWithout(folder: string): string {
  const parts = (process.env['PATH'] ?? '').split(delimiter)
  return parts.filter((part) => !resolve(part).startsWith(root) && resolve(part) !== folder).join(delimiter)
}

function run(
  command: readonly string[],
  options: { cwd: string; path?: string; env?: NodeJS.ProcessEnv; expect?: number },
): string {
  const [file = '', ...args] = command
  const { status, signal, stdout, stderr, error } = spawnSync(file, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env, PATH: options.path ?? process.env['PATH'] },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT,
    maxBuffer: 2 ** 26,
  })
  if (error !== undefined || status !== (options.expect ?? 0)) {
    const how = error?.message ?? signal ?? status
    throw new Error(`${command.join(' ')} ended with ${String(how)}\n${stdout ?? ''}${stderr ?? ''}`)
  }
  return stdout
}

function say(text: string): void {
  console.log(text)
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`not so: ${what}`)
}

// ── What is in a tarball ────────────────────────────────────────────────────────────────────────────────────────────────

interface Entry {
  readonly path: string
  readonly mode: string
  readonly size: number
}

interface Manifest {
  readonly name: string
  readonly version: string
  readonly bin?: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly engines?: { readonly node?: string }
}

function pack(name: string, folder: string): string {
  const printed = run(['npx', '--yes', packageManager, 'pack', '--json', '--pack-destination', folder], {
    cwd: join(root, 'packages', name),
  })
  const { filename } = JSON.parse(printed) as { filename: string }
  return join(folder, basename(filename))
}

/** Holds a tarball against what a package must be; resolves to its unpacked folder. */
function inspect(name: string, tarball: string, folder: string): void {
  mkdirSync(folder, { recursive: true })
  run(['tar', 'xzf', tarball, '-C', folder, '--strip-components=1'], { cwd: folder })
  const entries = run(['tar', 'tvzf', tarball], { cwd: folder })
    .trim()
    .split('\n')
    .map((line): Entry => {
      const [mode = '', , size = '', , , path = ''] = line.split(/ +/)
      return { path: path.replace(/^package\//, ''), mode, size: Number(size) }
    })
  const packed = new Set(entries.map(({ path }) => path))
  const text = (path: string): string => readFileSync(join(folder, path), 'utf8')
  const manifest = JSON.parse(text('package.json')) as Manifest

  must(packed.has('LICENSE') && packed.has('README.md'), `${name} has its LICENSE and its README.md`)
  for (const [of, range] of Object.entries(manifest.dependencies)) {
    must(/^[\^~]?\d/.test(range), `${name} depends on a version of ${of}, not on '${range}'`)
  }
  must(manifest.engines?.node === '>=24', `${name} says which Node it needs`)
  for (const [entry, target] of Object.entries(manifest.exports)) {
    const files = typeof target === 'string' ? [target] : Object.values(target)
    for (const file of files) must(packed.has(posix.normalize(file)), `${name}: ${entry} has its ${file}`)
    must(typeof target === 'string' || target['source'] === undefined, `${name}: ${entry} says nothing of sources`)
  }
  for (const file of Object.values(manifest.bin ?? {})) {
    const found = entries.find(({ path }) => path === posix.normalize(file))
    must(found?.mode[3] === 'x', `${name}: ${file} may be executed`)
    must(text(file).startsWith('#!/usr/bin/env node\n'), `${name}: ${file} says what it is run by`)
  }
  const extra = name === 'runtime' ? ['dist/isolates/LICENSES.txt'] : name === 'cli' ? ['dist/tour/'] : []
  for (const { path } of entries) {
    const known =
      /^(?:LICENSE|README\.md|package\.json|dist\/.*\.(?:js|d\.ts|js\.map|d\.ts\.map)|src\/.*\.ts)$/.test(path) ||
      extra.some((one) => path.startsWith(one))
    must(known && !/(?:^|\/)test\/|\.test\./.test(path), `${name} has no ${path}`)
    // What the compiler made of a source that is gone stays in dist until somebody removes it.
    const source = /^dist\/(.*?)(?:\.d)?\.(?:js|ts)$/.exec(path)?.[1]
    if (source !== undefined && !/^(?:isolates|tour)\//.test(source)) {
      must(packed.has(`src/${source}.ts`) || packed.has(`src/${source}.d.ts`), `${name}: ${path} is made of a source`)
    }
    if (path.endsWith('.map')) {
      const { sources } = JSON.parse(text(path)) as { sources: readonly string[] }
      for (const one of sources) {
        must(packed.has(posix.join(posix.dirname(path), one)), `${name}: ${path} points to what is there (${one})`)
      }
    }
    const mapped = /\n\/\/# sourceMappingURL=(.*)\s*$/.exec(/\.(?:js|d\.ts)$/.test(path) ? text(path) : '')?.[1]
    if (mapped !== undefined) must(packed.has(posix.join(posix.dirname(path), mapped)), `${name}: ${path} has its map`)
  }
  if (name === 'runtime') {
    for (const isolate of ['worker-entry', 'process-entry', 'machine-entry', 'reaper-entry', 'sqlite-entry']) {
      must(packed.has(`dist/isolates/${isolate}.js`), `runtime has the bundle of ${isolate}`)
    }
  }
  if (name === 'cli') {
    for (const file of ['eventlog.ts', 'leave.ts', 'take-up.ts'])
      must(packed.has(`dist/tour/${file}`), `cli has ${file}`)
  }
  for (const [, target = ''] of text('README.md').matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
    must(packed.has(posix.normalize(target)), `${name}: its README points to what is in it (${target})`)
  }
  // In one form a bundler, in the other a type checker would stumble.
  run(['publint', tarball, '--strict'], { cwd: folder })
  run(['attw', tarball, '--profile', 'esm-only'], { cwd: folder })
  const unpacked = entries.reduce((sum, { size }) => sum + size, 0)
  say(
    `${basename(tarball).padEnd(30)} ${kib(statSync(tarball).size)} packed, ${kib(unpacked)} in ${entries.length} files`,
  )
}

function kib(bytes: number): string {
  return `${String(Math.round(bytes / 1024)).padStart(5)} KiB`
}

// ── What can be done with it ────────────────────────────────────────────────────────────────────────────────────────────

/** A program of somebody who has the packages from npm, over every entry. */
const PROGRAM = `import { createPeer, defineJob, waitAll, type Job, type Peer } from '@errand/runtime'
import { connectLocal, defaultHome, type LocalPeer } from '@errand/runtime/client'
import { sqlite } from '@errand/runtime/sqlite'
import { decode, encode } from '@errand/transport'
import { createIdentity, libp2p } from '@errand/transport/libp2p'
import { memory } from '@errand/transport/memory'
import { socket } from '@errand/transport/socket'

await using peer: Peer = await createPeer({ name: 'mine', home: './mine', store: sqlite('./mine.db') })
const jobs: Job[] = []
for (const engine of ['thread', 'process'] as const) {
  jobs.push(await peer.start((ctx, a: number, b: number) => a * b, { engine, args: [6, 7] }))
}
await waitAll(jobs)
const said: unknown[] = []
for (const job of jobs) said.push(...(await job.output()))
const local: LocalPeer = await connectLocal()
const { name } = await local.status()
await local.close()
const apart = [defineJob, defaultHome, createIdentity, libp2p, memory, socket].every((one) => typeof one === 'function')
console.log(JSON.stringify({ said, name, apart, at: decode(encode(new Date(0))) }))
`

function tryThem(tarballs: readonly string[], folder: string): void {
  writeFileSync(join(folder, 'package.json'), '{ "private": true, "type": "module" }\n')
  const npm = ['npm', 'install', '--no-audit', '--no-fund', ...tarballs]
  const begun = performance.now()
  run(npm, { cwd: folder, path: machine })
  const version = run(['node', '--version'], { cwd: folder, path: machine }).trim()
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  say(
    `installed with npm ${run(['npm', '--version'], { cwd: folder, path: machine }).trim()} on Node ${version} in ${seconds} s`,
  )

  const errand = (machineName: string, ...words: string[]): string =>
    run(['npx', 'errand', ...words], {
      cwd: folder,
      path: pinned,
      env: { ERRAND_HOME: join(folder, machineName) },
    }).trim()
  // Where npm's Node is too old for it, it says so.
  const young = Number(/^v(\d+)/.exec(version)?.[1]) < 24
  run(['npx', 'errand', 'version'], { cwd: folder, path: machine, expect: young ? 1 : 0 })
  try {
    for (const name of ['laptop', 'server01']) errand(name, 'up', '--name', name, '--listen', '/ip4/127.0.0.1/tcp/0')
    must(errand('laptop', 'join', errand('server01', 'invite')) === 'server01', 'two peers are paired')
    must(errand('laptop', 'run', '--on', 'server01', '--', 'echo', 'hello') === 'hello', 'a command runs there')
    must(errand('laptop', 'run', '--on', 'server01', '-e', '6 * 7') === '42', 'a script runs there')
    must(errand('laptop', 'run', '--engine', 'thread', '-e', '6 * 7') === '42', 'a script runs in a thread here')
    must(errand('laptop', 'map', '--input', '[1,2,3]', '--ordered', 'n => n * 2') === '2\n4\n6', 'a map runs')
    say('two peers paired, and worked for each other')

    // As the documentation of TypeScript has it, and without looking away from our declarations.
    writeFileSync(join(folder, 'program.ts'), PROGRAM)
    const compilerOptions = {
      module: 'nodenext',
      target: 'esnext',
      strict: true,
      noEmit: true,
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
      skipLibCheck: false,
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }))
    run([join(bin, 'tsc'), '-p', folder], { cwd: folder })
    const printed = run([process.execPath, 'program.ts'], {
      cwd: folder,
      path: pinned,
      env: { ERRAND_HOME: join(folder, 'laptop') },
    })
    const wanted = { said: [42, 42], name: 'laptop', apart: true, at: '1970-01-01T00:00:00.000Z' }
    must(printed.trim() === JSON.stringify(wanted), `a program compiles and runs against them: ${printed}`)
    say('a program compiled and ran against every entry')
  } finally {
    for (const name of ['laptop', 'server01']) if (existsSync(join(folder, name))) errand(name, 'down', '--force')
  }
  say(errand('nobody', 'demo', '--quiet'))
  must(!existsSync(join(folder, 'nobody')), 'the demo leaves the home alone of who looks at it')
}

const kept = process.argv[2]
const temporary = mkdtempSync(join(tmpdir(), 'errand-packages-'))
try {
  const folder = kept === undefined ? join(temporary, 'tarballs') : resolve(kept)
  mkdirSync(folder, { recursive: true })
  const tarballs = names.map((name) => {
    const tarball = pack(name, folder)
    inspect(name, tarball, join(temporary, 'unpacked', name))
    return tarball
  })
  if (kept === undefined) {
    const empty = join(temporary, 'empty')
    mkdirSync(empty)
    tryThem(tarballs, empty)
  }
} finally {
  rmSync(temporary, { recursive: true, force: true })
}

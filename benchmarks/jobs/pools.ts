// The pools people use: each with as many workers as the reference figures had, and otherwise as it comes.

import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import { FixedThreadPool } from 'poolifier'
import { Tinypool } from 'tinypool'
import workerpool from 'workerpool'
import type { Task } from './task.ts'

/** A core each, where there are two. */
const WORKERS = 2
/** poolifier's `destroy` does not always settle after a burst. */
const CLOSE_MS = 2_000

export interface Pool extends AsyncDisposable {
  call(task: Task, input: number): Promise<unknown>
}

export type PoolName = keyof typeof makers

const makers = {
  piscina(): Pool {
    const pool = new Piscina({ filename: here('./task.ts').href, minThreads: WORKERS, maxThreads: WORKERS })
    const options = { empty: { name: 'empty' }, echo: { name: 'echo' } }
    return {
      call: (task, input) => pool.run(input, options[task]),
      [Symbol.asyncDispose]: () => pool.destroy(),
    }
  },

  tinypool(): Pool {
    const pool = new Tinypool({ filename: here('./task.ts').href, minThreads: WORKERS, maxThreads: WORKERS })
    const options = { empty: { name: 'empty' }, echo: { name: 'echo' } }
    return {
      call: (task, input) => pool.run(input, options[task]),
      [Symbol.asyncDispose]: () => pool.destroy(),
    }
  },

  workerpool(): Pool {
    const pool = workerpool.pool(fileURLToPath(here('./workerpool-task.ts')), {
      workerType: 'thread',
      minWorkers: WORKERS,
      maxWorkers: WORKERS,
    })
    return {
      call: async (task, input) => pool.exec(task, [input]),
      async [Symbol.asyncDispose]() {
        await pool.terminate()
      },
    }
  },

  poolifier(): Pool {
    const pool = new FixedThreadPool<number, unknown>(WORKERS, fileURLToPath(here('./poolifier-task.ts')))
    return {
      call: (task, input) => pool.execute(input, task),
      async [Symbol.asyncDispose]() {
        let timer: NodeJS.Timeout | undefined
        const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, CLOSE_MS)))
        await Promise.race([pool.destroy(), late])
        clearTimeout(timer)
      },
    }
  },
}

export const poolNames = Object.keys(makers) as readonly PoolName[]

export function openPool(name: PoolName): Pool {
  return makers[name]()
}

function here(file: string): URL {
  return new URL(file, import.meta.url)
}

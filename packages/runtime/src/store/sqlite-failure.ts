// What went wrong with a store's file, in words that say what to do: errors of SQLite and of the system as failures.
import { accessSync, constants } from 'node:fs'
import { dirname } from 'node:path'
import type { Failure } from './sqlite-message.ts'

const BUSY = 5
const READONLY = 8
const IOERR = 10
const CORRUPT = 11
const FULL = 13
const CANTOPEN = 14
const NOTADB = 26

/** A failure that is thrown. */
export class StoreFault extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.message)
    this.failure = failure
  }
}

/** Without what SQLite adds to its primary codes; 0 where it was not SQLite. */
function codeOf(error: unknown): number {
  const { errcode } = error as { errcode?: unknown }
  return typeof errcode === 'number' ? errcode & 0xff : 0
}

/** Bytes of the file are not what was written. */
export function isDamage(error: unknown): boolean {
  return codeOf(error) === CORRUPT || codeOf(error) === NOTADB
}

/** Nothing can be written just now; later it may be. */
export function isPassing(error: unknown): boolean {
  return [FULL, READONLY, IOERR, CANTOPEN].includes(codeOf(error))
}

export function failureOf(error: unknown, path: string): Failure {
  if (error instanceof StoreFault) return error.failure
  const why = error instanceof Error ? error.message : String(error)
  const code = codeOf(error)
  switch (code) {
    case BUSY:
      return {
        code: 'STORE_IN_USE',
        message: `${path} is in use by another process`,
        hint: 'a store has one process: close that one, or use another file',
      }
    case FULL:
      return full(path)
    case READONLY:
      return readOnly(path)
    case NOTADB:
      return {
        code: 'STORE_DAMAGED',
        message: `${path} is not a store, or its beginning is damaged`,
        hint: 'it was left as it is: move it away, or name another file',
      }
    case CORRUPT:
      return { code: 'STORE_DAMAGED', message: `${path} is damaged (${why})`, hint: 'the other jobs in it can be read' }
    case IOERR:
    case CANTOPEN:
      return isReadOnly(path) ? readOnly(path) : { code: 'STORE_FAILED', message: `${path}: ${why}` }
    default: {
      const { code: system } = error as { code?: string }
      if (system === 'EROFS' || system === 'EACCES') return readOnly(path)
      if (system === 'ENOSPC' || system === 'EDQUOT') return full(path)
      return { code: 'STORE_FAILED', message: `${path}: ${why}` }
    }
  }
}

function full(path: string): Failure {
  return {
    code: 'STORE_FULL',
    message: `there is no room to write ${path}`,
    hint: 'free some on its disk, or remove jobs; what waits goes on by itself',
  }
}

function readOnly(path: string): Failure {
  return {
    code: 'STORE_READ_ONLY',
    message: `${path} cannot be written: it, or its file system, is read-only`,
    hint: 'make it writable; what waits goes on by itself',
  }
}

function isReadOnly(path: string): boolean {
  try {
    accessSync(dirname(path), constants.W_OK)
    return false
  } catch (error) {
    return ['EROFS', 'EACCES', 'EPERM'].includes((error as { code?: string }).code ?? '')
  }
}

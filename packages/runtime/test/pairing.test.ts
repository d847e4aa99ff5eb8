// Tickets and the address book.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AddressBook } from '../src/address-book.ts'
import { readTicket, writeTicket } from '../src/ticket.ts'

describe('a ticket', () => {
  const ticket = {
    id: '12D3KooWabc',
    name: 'server01',
    addresses: ['/ip4/127.0.0.1/tcp/1/p2p/12D3KooWabc'],
    seed: new Uint8Array(32).fill(7),
  }
  it('is one line and comes back as it was', () => {
    const text = writeTicket(ticket)
    expect(text).toMatch(/^errand1-[\w-]+$/)
    expect(readTicket(` ${text}\n`)).toEqual(ticket)
  })
  it('says a name that can be shown', () => {
    expect(readTicket(writeTicket({ ...ticket, name: 'srv\u001b[31m\n' })).name).toBe('srv[31m')
  })
  it('that lost a letter, or any other text, is refused in words', () => {
    const text = writeTicket(ticket)
    for (const bad of [
      text.slice(0, -1),
      `${text.slice(0, 40)}${text.slice(41)}`,
      text.replace('a', 'b'),
      'hello',
      'errand1-',
      '',
    ]) {
      expect(() => readTicket(bad)).toThrow(expect.objectContaining({ code: 'TICKET' }))
    }
  })
})

describe('the address book', () => {
  let folder: string
  let file: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'errand-book-'))
    file = join(folder, 'peers.json')
  })
  afterEach(() => rm(folder, { recursive: true }))

  it('is there again after a restart, for its owner only', async () => {
    const book = await AddressBook.open(file)
    await book.put({ id: 'A', name: 'server01', addresses: ['/a'], grants: ['connect'] })
    await book.invite({ key: 'K', grants: ['connect'], uses: 2, expires: Date.now() + 60_000 })
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const again = await AddressBook.open(file)
    expect(again.named('SERVER01')).toMatchObject({ id: 'A', grants: ['connect'] })
    expect(again.invitation('K')).toMatchObject({ uses: 2 })
  })
  it('counts the uses of an invitation, and knows when it is over', async () => {
    const book = await AddressBook.open(undefined)
    await book.invite({ key: 'K', grants: [], uses: 2, expires: Date.now() + 60_000 })
    expect(await Promise.all([book.use('K'), book.use('K'), book.use('K')])).toEqual([true, true, false])
    expect(book.invitation('K')).toMatchObject({ uses: 0 })
    await book.invite({ key: 'L', grants: [], uses: 1, expires: Date.now() - 1 })
    expect(book.invitation('L')).toBeUndefined()
  })
  it('gives no two peers one name, and none a name that means something else', async () => {
    const book = await AddressBook.open(undefined)
    await book.put({ id: 'A', name: 'laptop' })
    expect((await book.put({ id: 'B', name: 'Laptop' })).name).toBe('Laptop-2')
    expect((await book.put({ id: 'C', name: 'localhost' })).name).toBe('peer-localhost')
    expect((await book.put({ id: 'D', name: '3.1' })).name).toBe('peer-3.1')
    expect((await book.put({ id: 'A', addresses: ['/x'] })).name).toBe('laptop')
  })
  it('has names that can be shown, whatever a peer calls itself, also those of an earlier version', async () => {
    const long = 'x'.repeat(100)
    const names: [asked: string, is: string][] = [
      ['srv\u001b]0;PWNED\u0007\u001b[31mx', 'srv]0;PWNED[31mx'],
      ['a\nb\u009b31m', 'ab31m'],
      ['abc\u202edef\u2066', 'abcdef'],
      ['  blanks ', 'blanks'],
      ['12\u0007.3', 'peer-12.3'],
      ['\u001b', 'id-of-it'],
      [long, long.slice(0, 64)],
      [long, `${long.slice(0, 62)}-2`],
      ['\u{1f600}'.repeat(65), '\u{1f600}'.repeat(64)],
    ]
    const peers = names.map(([name], index) => ({ name, id: `${index}-id-of-it`, addresses: [], grants: [] }))
    await writeFile(file, JSON.stringify({ version: 1, peers, invitations: [] }))
    const read = await AddressBook.open(file)
    expect(read.all().map(({ name }) => name)).toEqual(names.map(([, is]) => is))
    const written = await AddressBook.open(undefined)
    for (const peer of peers) await written.put(peer)
    expect(written.all().map(({ name }) => name)).toEqual(names.map(([, is]) => is))
  })
  it('gives nobody the name of another that is written plainly, whoever stands first', async () => {
    const peers = ['server01\u0007', 'server01'].map((name, index) => ({
      name,
      id: `P${index}`,
      addresses: [],
      grants: [],
    }))
    await writeFile(file, JSON.stringify({ version: 1, peers, invitations: [] }))
    const book = await AddressBook.open(file)
    expect([book.named('server01').id, book.named('server01-2').id]).toEqual(['P1', 'P0'])
  })
  it('that cannot be read is said, not replaced', async () => {
    await writeFile(file, '{ half')
    await expect(AddressBook.open(file)).rejects.toThrow(expect.objectContaining({ code: 'USAGE' }))
    expect(await readFile(file, 'utf8')).toBe('{ half')
  })
  it('keeps every change of many made at once', async () => {
    const book = await AddressBook.open(file)
    await Promise.all(Array.from({ length: 50 }, (_, index) => book.put({ id: `P${index}`, name: `n${index}` })))
    expect((await AddressBook.open(file)).all().length).toBe(50)
  })
})

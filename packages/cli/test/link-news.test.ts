// What is said of links that are lost: once, and that they are back only where that is known.
import { expect, it } from 'vitest'
import { LinkNews } from '../src/link-news.ts'
import { FakeJob, FakeSession } from './fake-peer.ts'
import { contextOf, Sink } from './harness.ts'

const lost = new Error('the link to server01 is lost; trying again for 240 s')
const said = (tell: (news: LinkNews) => void): string => {
  const sinks = { stdout: new Sink(), stderr: new Sink() }
  tell(new LinkNews(contextOf(sinks)))
  return sinks.stderr.text
}

it('a job that is out of reach, and back', () => {
  const { snapshot } = new FakeJob(1, ['x'], {}, { location: 'server01' })
  const away = { ...snapshot, state: 'Disconnected' as const, reason: lost }
  const text = said((news) => {
    for (const one of [snapshot, away, away, { ...snapshot, state: 'Running' as const }]) news.job(one)
  })
  expect(text).toBe(`warning: ${lost.message}\nerrand: server01 is back\n`)
})

it('a job that has failed because of it is not back', () => {
  const { snapshot } = new FakeJob(1, ['x'], {}, { location: 'server01' })
  const text = said((news) => {
    news.job({ ...snapshot, state: 'Disconnected', reason: lost })
    news.job({ ...snapshot, state: 'Failed', reason: new Error('given up') })
  })
  expect(text).toBe(`warning: ${lost.message}\n`)
})

it('a session that is lost for good is not back', () => {
  const { snapshot } = new FakeSession(1, 'server01')
  const text = said((news) => {
    news.session({ ...snapshot, state: 'Connecting', reason: lost })
    news.session({ ...snapshot, state: 'Broken', reason: new Error('given up') })
  })
  expect(text).toBe(`warning: ${lost.message}\n`)
})

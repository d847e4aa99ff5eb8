// What a job waits for from whoever looks at it, in words: the question, and the line to type.
import type { JobSnapshot, Question } from '@errand/runtime/client'
import type { Terminal } from '../terminal.ts'
import { jobId } from './job.ts'
import { oneLine } from './table.ts'

/** `Delete it? (yes, no) [no]` */
export function questionText({ prompt, choices, default: usual, secret }: Question): string {
  return [
    oneLine(prompt),
    ...(choices ? [`(${choices.map(oneLine).join(', ')})`] : []),
    ...(usual === undefined || secret
      ? []
      : [`[${oneLine(typeof usual === 'string' ? usual : JSON.stringify(usual))}]`]),
  ].join(' ')
}

/** The line that answers it; `at`: whose table, where several are spoken to. */
export function answerLine(job: JobSnapshot, at?: string): string {
  const { choices, secret } = job.question!
  // What is secret is not typed where a shell would remember it.
  const value = secret ? [] : [choices?.[0] === undefined ? 'VALUE' : shellWord(choices[0])]
  return ['errand', ...atWords(at), 'answer', jobId(job), ...value].join(' ')
}

/** What it waits for from whoever looks at it, on stderr: an answer, or to be received. */
export function sayWaiting(terminal: Terminal, job: JobSnapshot, at?: string): void {
  sayQuestion(terminal, job, at)
  if (!job.paused) return
  const line = ['errand', ...atWords(at), 'receive', jobId(job)].join(' ')
  terminal.say(`${terminal.word('yellow', `job ${jobId(job)} is paused:`)} as much as is kept of it was left unread`)
  terminal.say(`  ${terminal.word('dim', line)}`)
}

/** Both, on stderr. Nothing for a job that asks nothing. */
export function sayQuestion(terminal: Terminal, job: JobSnapshot, at?: string): void {
  if (job.state !== 'Blocked' || !job.question) return
  terminal.say(`${terminal.word('yellow', `job ${jobId(job)} asks:`)} ${questionText(job.question)}`)
  terminal.say(`  ${terminal.word('dim', answerLine(job, at))}`)
}

/** Whose table it is, as a line to type says it. */
export function atWords(at: string | undefined): string[] {
  return at === undefined ? [] : ['--at', shellWord(at)]
}

/** As a shell reads it. */
export function shellWord(text: string): string {
  const word = oneLine(text)
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}

import { ThreadWorker } from 'poolifier'
import { echo, empty } from './task.ts'

export default new ThreadWorker<number, unknown>({ empty: () => empty(), echo: (input) => echo(input!) })

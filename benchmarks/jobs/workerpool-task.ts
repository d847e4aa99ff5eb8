import workerpool from 'workerpool'
import { tasks } from './task.ts'

workerpool.worker(tasks)

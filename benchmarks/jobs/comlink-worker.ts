// A worker behind Comlink and nothing else: what a run in a thread is measured against.
import { parentPort } from 'node:worker_threads'
import * as Comlink from 'comlink'
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs'
import { tasks } from './task.ts'

Comlink.expose(tasks, nodeEndpoint(parentPort!))

// The composition of this machine's peer: the only place where runtime and libp2p meet. Runs until it is told to leave.
import { join } from 'node:path'
import { createPeer } from '@errand/runtime'
import { readConfig, writeConfig, withPorts } from './config.ts'
import { defined } from './work.ts'

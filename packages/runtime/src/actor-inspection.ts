// Everything known of an actor, for people.
import { decode } from '@errand/transport'
import type { ActorHost } from './actor-host.ts'
import type { ActorInspection, ChartState } from './actor-surface.ts'
import type { ActorJob } from './hosted-actor.ts'

/** What `errand inspect ACTOR` shows. */
export function inspectActor(job: ActorJob, actor: ActorHost): ActorInspection {
  const { definition, epoch } = actor
  const { status, value = '', accepts = [], context } = actor.state()
  const chart: ChartState = { key: definition.name, kind: 'compound', active: true, on: [], states: [] }
  return {
    address: { peer: job.peer, path: `${job.session}/${job.instanceId}`, epoch, machine: definition.name },
    machine: definition.name,
    version: definition.durable?.version,
    durable: definition.durable !== undefined,
    status,
    value,
    context: context && decode(context),
    accepts,
    timers: [],
    inbox: actor.inbox,
    watchers: actor.watchers,
    chart,
    transitions: actor.transitions,
  }
}

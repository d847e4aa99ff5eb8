// Everything known of an actor, for people.
import { decode } from '@errand/transport'
import type { ActorHost } from './actor-host.ts'
import type { ActorInspection } from './actor-surface.ts'
import { chartOf } from './chart.ts'
import type { ActorJob } from './hosted-actor.ts'

/** What `errand inspect ACTOR` shows. */
export function inspectActor(job: ActorJob, actor: ActorHost): ActorInspection {
  const { definition, epoch } = actor
  const { status, value = '', accepts = [], context } = actor.state()
  return {
    address: { peer: job.peer, path: `${job.session}/${job.instanceId}`, epoch, machine: definition.name },
    at: new Date(),
    machine: definition.name,
    version: definition.durable?.version,
    durable: actor.durable,
    status,
    value,
    context: context && decode(context),
    accepts,
    timers: actor.timers,
    inbox: actor.inbox,
    watchers: actor.watchers,
    chart: chartOf(definition.machine, value, Object.keys(definition.events)),
    transitions: actor.transitions,
  }
}

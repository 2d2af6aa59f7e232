/** The etcd that APISIX's objects come from, as the status and the log describe it. */
import type { Logger } from 'pino';
import { formatFinding } from '../../config/finding.ts';
import type { ProxyError } from '../../errors.ts';
import type { ClusterStatus } from '../../observe/status.ts';
import type { Cluster } from '../connect.ts';
import type { ClusterLink } from '../member.ts';
import type { ObjectSource } from '../object-source.ts';
import type { EtcdObjects } from './etcd-objects.ts';

export class ApisixLink implements ClusterLink {
  readonly #cluster: Cluster;
  readonly #objects: EtcdObjects;
  readonly #source: () => ObjectSource;
  #fault: ProxyError | undefined;
  #lostAt: number | undefined = performance.now();
  #eventsLost = 0;
  /** Whether etcd was read, ever. */
  #wasRead = false;
  #isFromSnapshot = false;
  #logger: Logger | undefined;

  constructor(cluster: Cluster, objects: EtcdObjects, source: () => ObjectSource) {
    this.#cluster = cluster;
    this.#objects = objects;
    this.#source = source;
  }

  /** Nothing is written to etcd, so session tickets are this machine's own. */
  masters = (): undefined => undefined;
  onMasters = (): void => {};

  log(logger: Logger): void {
    this.#logger = logger;
    if (this.#fault) this.#tellFault(this.#fault);
  }

  connected(fault: ProxyError | undefined): void {
    if (fault === undefined) this.#wasRead = true;
    this.#fault = fault;
    this.#lostAt = fault === undefined ? undefined : performance.now();
    if (fault) this.#tellFault(fault);
    else this.#logger?.info({ endpoint: this.#cluster.etcd.endpoint() }, 'following etcd');
  }

  lostEvents(): void {
    this.#eventsLost += 1;
  }

  fromSnapshot(): void {
    this.#isFromSnapshot = true;
  }

  /** The state has changed, or was not let in. */
  tellVanished(): void {
    const { vanished } = this.#objects;
    if (vanished === undefined) return;
    this.#logger?.error(
      vanished,
      'most objects have vanished from etcd: the earlier ones are served until a reload is asked for',
    );
  }

  status = (): ClusterStatus => {
    const { config, machine, etcd } = this.#cluster;
    const { vanished } = this.#objects;
    const source = this.#source();
    return {
      name: config.name,
      machine,
      connected: this.#lostAt === undefined,
      endpoint: etcd.endpoint(),
      fault: this.#fault?.message ?? null,
      silent_seconds: this.#lostAt === undefined ? 0 : Math.round((performance.now() - this.#lostAt) / 1000),
      source: this.#wasRead ? 'etcd' : this.#isFromSnapshot ? 'snapshot' : 'none',
      revision: source.served?.state.revision ?? 0,
      held: heldIn(source),
      alarm: vanished ? `there were ${vanished.before} objects, and now there are ${vanished.now}` : null,
      events_lost: this.#eventsLost,
      leads: false,
      tickets: null,
      machines: [],
    };
  };

  #tellFault({ message, code, hint }: ProxyError): void {
    this.#logger?.warn(
      { code, fault: message, hint },
      'etcd cannot be followed: what is served does not change',
    );
  }
}

function heldIn(source: ObjectSource): ClusterStatus['held'] {
  const byObject = new Map<string, string[]>();
  for (const finding of source.served?.loaded.held ?? []) {
    byObject.set(finding.file, [...(byObject.get(finding.file) ?? []), formatFinding(finding)]);
  }
  return [...byObject].map(([object, faults]) => ({
    object,
    faults,
    serving: source.isEarlier(object) ? 'its earlier version' : 'a refusal',
  }));
}

/** The etcd that APISIX's objects come from, as the status and the log describe it. */
import type { Logger } from 'pino';
import { formatFinding } from '../../config/finding.ts';
import type { ProxyError } from '../../errors.ts';
import type { ClusterStatus } from '../../observe/status.ts';
import type { Cluster } from '../connect.ts';
import { Contact } from '../contact.ts';
import type { ClusterLink } from '../member.ts';
import type { ObjectSource } from '../object-source.ts';
import type { EtcdObjects } from './etcd-objects.ts';

export class ApisixLink implements ClusterLink {
  readonly #contact: Contact;
  readonly #objects: EtcdObjects;
  readonly #source: () => ObjectSource;
  #logger: Logger | undefined;

  constructor(cluster: Cluster, objects: EtcdObjects, source: () => ObjectSource) {
    this.#contact = new Contact(cluster);
    this.#objects = objects;
    this.#source = source;
  }

  /** APISIX has no place for shared masters, so session tickets are this machine's own. */
  masters = (): undefined => undefined;
  onMasters = (): void => {};

  log(logger: Logger): void {
    this.#logger = logger;
    this.#contact.log(logger);
  }

  connected(fault: ProxyError | undefined): void {
    this.#contact.connected(fault);
  }

  lostEvents(): void {
    this.#contact.lostEvents();
  }

  fromSnapshot(): void {
    this.#contact.fromSnapshot();
  }

  close(): void {
    this.#contact.close();
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
    const { vanished } = this.#objects;
    const source = this.#source();
    return this.#contact.status({
      revision: source.served?.state.revision ?? 0,
      held: heldIn(source),
      alarm: vanished ? `there were ${vanished.before} objects, and now there are ${vanished.now}` : null,
      leads: false,
      tickets: null,
      machines: [],
    });
  };
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

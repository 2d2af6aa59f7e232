/** How it goes with etcd, for log and status: whether it is followed, and if not, since when and why. */
import type { Logger } from 'pino';
import type { ProxyError } from '../errors.ts';
import type { ClusterStatus } from '../observe/status.ts';
import type { Cluster } from './connect.ts';

/** What is served, of what there is. */
type Served = Pick<ClusterStatus, 'revision' | 'held' | 'alarm' | 'leads' | 'tickets' | 'machines'>;

/** How often the log says that etcd is still away (ms). */
const remindEvery = 60_000;

export class Contact {
  readonly #cluster: Cluster;
  readonly #reminder: NodeJS.Timeout;
  #logger: Logger | undefined;
  #fault: ProxyError | undefined;
  #lostAt: number | undefined = performance.now();
  #source: ClusterStatus['source'] = 'none';
  #eventsLost = 0;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#reminder = setInterval(() => this.#remind(), remindEvery).unref();
  }

  /** Whatever happened before is logged now. */
  log(logger: Logger): void {
    this.#logger = logger;
    this.#remind();
  }

  /** etcd answers; or does not, because of the fault, which may be another than before. */
  connected(fault: ProxyError | undefined): void {
    const isNews = this.#fault === undefined;
    this.#fault = fault;
    if (fault === undefined) {
      this.#source = 'etcd';
      this.#lostAt = undefined;
      this.#logger?.info({ endpoint: this.#cluster.etcd.endpoint() }, 'following etcd');
    } else {
      this.#lostAt ??= performance.now();
      if (isNews) this.#remind();
    }
  }

  fromSnapshot(): void {
    this.#source = 'snapshot';
  }

  lostEvents(): void {
    this.#eventsLost += 1;
    this.#logger?.warn('etcd had not delivered every event: everything is read again');
  }

  status(served: Served): ClusterStatus {
    const { config, machine, etcd } = this.#cluster;
    const silentMs = this.#lostAt === undefined ? 0 : performance.now() - this.#lostAt;
    return {
      name: config.name,
      machine,
      connected: this.#lostAt === undefined,
      endpoint: etcd.endpoint(),
      fault: this.#fault?.message ?? null,
      silent_seconds: Math.round(silentMs / 1000),
      source: this.#source,
      events_lost: this.#eventsLost,
      ...served,
    };
  }

  close(): void {
    clearInterval(this.#reminder);
  }

  #remind(): void {
    if (this.#fault === undefined) return;
    const { message, code, hint } = this.#fault;
    this.#logger?.warn(
      { code, fault: message, hint },
      'etcd cannot be followed: what is served does not change',
    );
  }
}

/** One machine's part in the cluster beside its configuration: what it reports, its tickets, its state. */
import type { Logger } from 'pino';
import type { TicketMasters } from '../config/load.ts';
import { isMapping } from '../config/read/parted.ts';
import type { ProxyError } from '../errors.ts';
import type { ClusterStatus, MachineStatus } from '../observe/status.ts';
import { version } from '../process/version.ts';
import type { Cluster } from './connect.ts';
import { Contact } from './contact.ts';
import { lastWrittenAt, put } from './etcd/messages.ts';
import type { Copy } from './follow.ts';
import type { Alarm, Gathered } from './gather.ts';
import type { Held } from './load-state.ts';
import { type Leading, Presence, type Report } from './presence.ts';
import { Shares } from './shares.ts';
import { firstMasters, readMasters, rotated, type SharedMasters, toServe, writeMasters } from './tickets.ts';

/** What `operation` needs of a cluster. */
export type ClusterLink = {
  /** undefined until they are known; `session_tickets.keys` of the file come before them. */
  readonly masters: () => TicketMasters | undefined;
  /** Called when `masters` are others. */
  readonly onMasters: (listener: (masters: TicketMasters) => void) => void;
  /** undefined: every machine counts for itself. */
  readonly shares?: Shares | undefined;
  readonly status: () => ClusterStatus;
};

export type Member = ClusterLink & {
  readonly log: (logger: Logger) => void;
  readonly report: (
    served: { readonly state: Gathered | undefined; readonly held: readonly Held[] },
    alarm: Alarm | undefined,
  ) => void;
  /** To be called with keys that have changed. */
  readonly changed: (keys: readonly string[]) => void;
  readonly connected: (fault: ProxyError | undefined) => void;
  readonly lostEvents: () => void;
  readonly fromSnapshot: () => void;
  /** To be called when the secrets are others. */
  readonly unsealAgain: () => void;
  /** The sealed value. */
  readonly tickets: () => string | undefined;
  readonly close: () => Promise<void>;
};

/** How many of the objects held back the report names. */
const mostReported = 100;

type Parts = {
  readonly copy: () => Copy | undefined;
  readonly rotateEvery: () => number;
  readonly tickets: string | undefined;
  readonly onTickets: () => void;
};

export function createMember(cluster: Cluster, parts: Parts): Member {
  return new MachineMember(cluster, parts);
}

class MachineMember implements Member {
  readonly #cluster: Cluster;
  readonly #parts: Parts;
  readonly #presence: Presence;
  readonly #contact: Contact;
  readonly shares: Shares | undefined;
  readonly #since = new Date();
  #logger: Logger | undefined;
  #report: Report;
  #held: readonly Held[] = [];
  #sealedTickets: string | undefined;
  #masters: SharedMasters | undefined;
  #listener: ((masters: TicketMasters) => void) | undefined;
  #toldOfRival = false;

  constructor(cluster: Cluster, parts: Parts) {
    this.#cluster = cluster;
    this.#parts = parts;
    this.#contact = new Contact(cluster);
    this.#report = {
      version,
      applied: 0,
      held: [],
      heldCount: 0,
      alarm: null,
      since: this.#since.toISOString(),
    };
    this.#takeTickets(parts.tickets);
    this.#presence = new Presence(cluster.etcd, cluster.keys, cluster.machine, this.#report, {
      onRival: () => this.#tellOfRival(),
      onLeading: (leading) => this.#lead(leading),
    });
    this.shares = cluster.config.limits === 'cluster' ? this.#createShares() : undefined;
  }

  #createShares(): Shares {
    const { etcd, keys, machine } = this.#cluster;
    return new Shares({ etcd, keys, machine, copy: this.#parts.copy, guard: () => this.#presence.guard });
  }

  masters = (): TicketMasters | undefined => this.#masters && toServe(this.#masters);

  onMasters = (listener: (masters: TicketMasters) => void): void => {
    this.#listener = listener;
  };

  tickets(): string | undefined {
    return this.#sealedTickets;
  }

  log(logger: Logger): void {
    this.#logger = logger;
    this.#contact.log(logger);
    this.shares?.log(logger);
  }

  fromSnapshot(): void {
    this.#contact.fromSnapshot();
  }

  report(
    { state, held }: { readonly state: Gathered | undefined; readonly held: readonly Held[] },
    alarm: Alarm | undefined,
  ): void {
    this.#held = held;
    const reason = alarm ? `revision ${alarm.revision} is not served: ${alarm.reason}` : null;
    if (reason !== null && reason !== this.#report.alarm) {
      const hint = `\`penstock cluster accept ${alarm?.revision}\` lets it in`;
      this.#logger?.error({ code: 'ERR_CLUSTER_HELD', hint }, reason);
    }
    this.#report = {
      ...this.#report,
      applied: state?.revision ?? 0,
      held: held.slice(0, mostReported).map(({ name, faults, serving }) => ({ name, faults, serving })),
      heldCount: held.length,
      alarm: reason,
    };
    this.#presence.update(this.#report);
  }

  changed(keys: readonly string[]): void {
    const { tickets, leader } = this.#cluster.keys;
    const entries = this.#parts.copy()?.entries;
    if (keys.includes(tickets)) this.#takeTickets(entries?.get(tickets)?.value.toString());
    if (keys.includes(leader) && !entries?.has(leader)) this.#presence.look();
    this.shares?.changed(keys);
  }

  connected(fault: ProxyError | undefined): void {
    this.#contact.connected(fault);
    if (fault !== undefined) return;
    this.shares?.refresh();
    this.#presence.look();
  }

  unsealAgain(): void {
    const { tickets } = this.#cluster.keys;
    this.#takeTickets(this.#parts.copy()?.entries.get(tickets)?.value.toString());
  }

  lostEvents(): void {
    this.#contact.lostEvents();
  }

  status = (): ClusterStatus => {
    const masters = this.#masters;
    return this.#contact.status({
      revision: this.#report.applied,
      held: this.#held.map(({ name, faults, serving }) => ({ object: name, faults, serving })),
      alarm: this.#report.alarm,
      leads: this.#presence.leads,
      tickets: masters
        ? { generation: masters.generation, rotated: new Date(masters.rotated).toISOString() }
        : null,
      machines: this.#machines(),
    });
  };

  async close(): Promise<void> {
    this.#contact.close();
    await this.shares?.close();
    await this.#presence.close();
  }

  #machines(): MachineStatus[] {
    const { machines, leader } = this.#cluster.keys;
    const entries = this.#parts.copy()?.entries ?? new Map();
    const leads = entries.get(leader)?.value.toString().split(' ')[0];
    return readMachines(entries.values(), machines).map(({ name, report }) => ({
      name,
      version: report.version,
      revision: report.applied,
      held: report.heldCount,
      alarm: report.alarm,
      leads: name === leads,
      since: report.since,
    }));
  }

  #takeTickets(text: string | undefined): void {
    if (text === undefined || text === this.#sealedTickets) return;
    const { keys, seal } = this.#cluster;
    try {
      this.#masters = readMasters(text, keys.tickets, seal);
    } catch (error) {
      this.#logger?.error(
        { err: error },
        'the shared ticket masters cannot be read: the former ones stay in use',
      );
      return;
    }
    this.#sealedTickets = text;
    this.#listener?.(toServe(this.#masters));
    this.#parts.onTickets();
  }

  /** Makes the first masters, and rotates them in time. */
  async #lead({ guard }: Leading): Promise<void> {
    const { etcd, keys, seal } = this.#cluster;
    const copy = this.#parts.copy();
    if (copy === undefined) return;
    const there = copy.entries.get(keys.tickets);
    const now = Date.now();
    const next = there === undefined ? firstMasters(now) : this.#due(there.value.toString(), now);
    if (next === undefined) return;
    const unchanged = lastWrittenAt(keys.tickets, there?.modRevision ?? 0);
    const { succeeded } = await etcd.txn(
      [guard, unchanged],
      [put(keys.tickets, writeMasters(next, keys.tickets, seal))],
    );
    if (succeeded)
      this.#logger?.info({ generation: next.generation }, 'session tickets: the shared masters were rotated');
  }

  #due(text: string, now: number): SharedMasters | undefined {
    const { keys, seal } = this.#cluster;
    const masters = readMasters(text, keys.tickets, seal);
    // Written by a machine whose clock was wrong, they may be of the far future.
    const age = Math.abs(now - masters.rotated);
    return age >= this.#parts.rotateEvery() ? rotated(masters, now) : undefined;
  }

  #tellOfRival(): void {
    if (this.#toldOfRival) return;
    this.#toldOfRival = true;
    const { machine } = this.#cluster;
    this.#logger?.error(
      { machine },
      'another machine has the same name: this one serves, but is not counted, and does not lead',
    );
  }
}

/** The machines that are there, and what they report. */
export function readMachines(
  entries: Iterable<{ readonly key: string; readonly value: Buffer }>,
  prefix: string,
): { readonly name: string; readonly report: Report }[] {
  const found: { name: string; report: Report }[] = [];
  for (const { key, value } of entries) {
    if (!key.startsWith(prefix)) continue;
    try {
      const report: unknown = JSON.parse(value.toString());
      if (isReport(report)) found.push({ name: key.slice(prefix.length), report });
    } catch {
      // Not written by penstock.
    }
  }
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function isReport(value: unknown): value is Report {
  if (!isMapping(value) || !Array.isArray(value['held'])) return false;
  return value['held'].every((one) => isMapping(one) && Array.isArray(one['faults']));
}

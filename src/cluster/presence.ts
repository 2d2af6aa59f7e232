/**
 * A machine's own keys, which vanish with its lease: that it is there and what it serves, and perhaps that it
 * leads. A lease is no lock: a leader that was paused may believe in a lease that is gone. So whatever a
 * leader writes is compared, in the same transaction, with its key.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Compare, Etcd } from './etcd/etcd.ts';
import { createdAt, put } from './etcd/messages.ts';
import type { Keys } from './keys.ts';

/** In seconds: what etcd grants, and how long we believe in it without an answer, by our own clock. */
const ttl = 15;
const believed = (ttl * 2) / 3;
const keepAliveMs = (ttl * 1000) / 3;
const retryMs = 1000;

/** What other machines and `penstock cluster status` see. */
export type Report = {
  readonly version: string;
  /** The revision that is served. */
  readonly applied: number;
  /** The first of them: etcd takes 1.5 MB at once. */
  readonly held: readonly {
    readonly name: string;
    readonly faults: readonly string[];
    readonly serving: string;
  }[];
  readonly heldCount: number;
  /** Why a newer state is not served. */
  readonly alarm: string | null;
  /** When this process began. */
  readonly since: string;
};

export type PresenceEvents = {
  /** Another machine has the same name: this one serves, but is not counted, and does not lead. */
  readonly onRival: () => void;
  /** Called at every beat while this machine leads; `leader` guards what it writes. */
  readonly onLeading: (leader: Leading) => Promise<void>;
};

export type Leading = { readonly guard: Compare };

export class Presence {
  readonly #etcd: Etcd;
  readonly #keys: Keys;
  readonly #machine: string;
  readonly #events: PresenceEvents;
  readonly #instance = randomUUID();
  readonly #ending = new AbortController();
  #report: Report;
  #written: string | undefined;
  #lease: bigint | undefined;
  /** When etcd last confirmed the lease, by a clock that nobody sets. */
  #confirmedAt = 0;
  #ownRevision: number | undefined;
  #leaderRevision: number | undefined;
  #rivalSince: number | undefined;
  #isDue = false;
  #wake: (() => void) | undefined;

  constructor(etcd: Etcd, keys: Keys, machine: string, first: Report, events: PresenceEvents) {
    this.#etcd = etcd;
    this.#keys = keys;
    this.#machine = machine;
    this.#report = first;
    this.#events = events;
    void this.#run();
  }

  /** Whether this machine believes that it leads. */
  get leads(): boolean {
    return this.#leaderRevision !== undefined && performance.now() - this.#confirmedAt < believed * 1000;
  }

  /** Holds as long as the machine of this name is this process; undefined: it is not. */
  get guard(): Compare | undefined {
    return this.#ownRevision === undefined
      ? undefined
      : createdAt(this.#keys.machine(this.#machine), this.#ownRevision);
  }

  /** Tells the others, soon. */
  update(report: Report): void {
    this.#report = report;
    this.look();
  }

  /** There is something to do: there may be no leader, say. */
  look(): void {
    this.#isDue = true;
    this.#wake?.();
  }

  /** Leaves at once, rather than when the lease ends. */
  async close(): Promise<void> {
    this.#ending.abort();
    this.look();
    if (this.#lease !== undefined) await this.#etcd.revoke(this.#lease).catch(() => {});
  }

  async #run(): Promise<void> {
    while (!this.#ending.signal.aborted) {
      this.#isDue = false;
      const isThere = await this.#beat().catch(() => false);
      await this.#pause(isThere ? keepAliveMs : retryMs);
    }
  }

  #pause(ms: number): Promise<void> {
    if (this.#isDue) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #beat(): Promise<boolean> {
    const asked = performance.now();
    if (this.#lease !== undefined && !(await this.#etcd.keepAlive(this.#lease))) this.#forget();
    this.#lease ??= await this.#etcd.grant(ttl);
    this.#confirmedAt = asked;
    await this.#announce(this.#lease);
    if (this.#ownRevision === undefined) return false;
    await this.#stand(this.#lease);
    if (this.#leaderRevision !== undefined && this.leads) {
      await this.#events.onLeading({ guard: createdAt(this.#keys.leader, this.#leaderRevision) });
    }
    return true;
  }

  #forget(): void {
    this.#lease = undefined;
    this.#written = undefined;
    this.#ownRevision = undefined;
    this.#leaderRevision = undefined;
  }

  /** Writes the report under the lease, unless the key is another's. */
  async #announce(lease: bigint): Promise<void> {
    const key = this.#keys.machine(this.#machine);
    const value = JSON.stringify({ ...this.#report, instance: this.#instance });
    if (value === this.#written) return;
    const { succeeded, revision } = await this.#etcd.txn(
      [createdAt(key, this.#ownRevision ?? 0)],
      [put(key, value, lease)],
    );
    if (succeeded) {
      this.#ownRevision ??= revision;
      this.#written = value;
      this.#rivalSince = undefined;
      return;
    }
    const { entry } = await this.#etcd.get(key);
    this.#ownRevision = undefined;
    this.#written = undefined;
    // Somebody deleted it, or the answer to an earlier attempt was lost.
    if (entry === undefined || entry.value.includes(this.#instance)) {
      this.#ownRevision = entry?.createRevision;
      return this.look();
    }
    // After a crash, the key of the process before is there until its lease ends.
    this.#rivalSince ??= performance.now();
    if (performance.now() - this.#rivalSince > 2 * ttl * 1000) this.#events.onRival();
  }

  /** Becomes the leader if there is none. */
  async #stand(lease: bigint): Promise<void> {
    const { leader } = this.#keys;
    const value = `${this.#machine} ${this.#instance}`;
    const { entry } = await this.#etcd.get(leader);
    this.#leaderRevision = entry?.value.toString() === value ? entry.createRevision : undefined;
    if (entry !== undefined) return;
    // Not all at once.
    await sleep(Math.random() * 1000, undefined, { ref: false });
    const { succeeded, revision } = await this.#etcd.txn([createdAt(leader, 0)], [put(leader, value, lease)]);
    if (succeeded) this.#leaderRevision = revision;
  }
}

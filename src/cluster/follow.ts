/**
 * Keeps a copy of everything under a prefix: read whole at one revision, then followed by a watch. The watch
 * is not believed alone: members that hang, lose their leader, are restored from a backup, or lose events are
 * noticed, and then everything is read again. Nothing is dropped in between, whatever happens to etcd.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProxyError } from '../errors.ts';
import type { Etcd, KeyValue, WatchAnswer } from './etcd/etcd.ts';

/** What there is under the prefix, at one revision. */
export type Copy = {
  readonly revision: number;
  /** By the whole key. Changes with the next event: what must stay is to be copied at once. */
  readonly entries: ReadonlyMap<string, KeyValue>;
};

export type FollowEvents = {
  /** These keys have changed, at this revision or before it; the copy already has it. */
  readonly onChange: (keys: readonly string[], revision: number) => void;
  /** etcd answers, called when that is news; or it does not, called for each attempt. */
  readonly onConnected: (fault: ProxyError | undefined) => void;
  /** The watch had not delivered everything. */
  readonly onEventsLost: () => void;
};

export type Follower = {
  /** undefined until it was read for the first time. */
  readonly copy: () => Copy | undefined;
  readonly close: () => void;
};

const retry = { least: 200, most: 5000 } as const;
/** How often everything is compared with etcd (ms), and how long a difference must last to count. */
const comparing = { every: 60_000, lasts: 5000 };

export function follow(
  etcd: Etcd,
  prefix: string,
  events: FollowEvents,
  compare: typeof comparing = comparing,
): Follower {
  const following = new Following(etcd, prefix, events, compare);
  void following.run();
  return following;
}

class Following implements Follower {
  readonly #etcd: Etcd;
  readonly #prefix: string;
  readonly #events: FollowEvents;
  readonly #compareTimes: typeof comparing;
  readonly #ending = new AbortController();
  #entries = new Map<string, KeyValue>();
  /**
   * The highest of a full read or a delivered event. Never what `created` says: older events may follow it.
   */
  #revision: number | undefined;
  #clusterId = 0n;
  #connected: boolean | undefined;
  #failures = 0;
  #watching: ReturnType<Etcd['watch']> | undefined;
  /** Everything has to be read again. */
  #isStale = true;
  #comparing: NodeJS.Timeout | undefined;

  constructor(etcd: Etcd, prefix: string, events: FollowEvents, compare: typeof comparing) {
    this.#etcd = etcd;
    this.#compareTimes = compare;
    this.#prefix = prefix;
    this.#events = events;
  }

  copy(): Copy | undefined {
    return this.#revision === undefined ? undefined : { revision: this.#revision, entries: this.#entries };
  }

  close(): void {
    this.#ending.abort();
    clearTimeout(this.#comparing);
    this.#watching?.close();
  }

  async run(): Promise<void> {
    this.#compareLater();
    while (!this.#isClosed()) {
      try {
        if (this.#isStale) await this.#readAll();
        await this.#watch();
      } catch (error) {
        if (this.#isClosed()) return;
        this.#note(error as ProxyError);
        await this.#pause();
      }
    }
  }

  #isClosed(): boolean {
    return this.#ending.signal.aborted;
  }

  async #pause(): Promise<void> {
    const most = Math.min(retry.most, retry.least * 2 ** this.#failures);
    this.#failures += 1;
    await sleep(Math.random() * most, undefined, { signal: this.#ending.signal, ref: false }).catch(() => {});
  }

  #note(fault: ProxyError | undefined): void {
    if (fault === undefined) this.#failures = 0;
    if (fault === undefined && this.#connected === true) return;
    this.#connected = fault === undefined;
    this.#events.onConnected(fault);
  }

  async #readAll(): Promise<void> {
    const { revision, clusterId, entries } = await this.#etcd.range(this.#prefix);
    // Entries that did not change stay the same, so that nothing is made of them anew.
    const known = (entry: KeyValue) => {
      const before = this.#entries.get(entry.key);
      return before?.modRevision === entry.modRevision && before.value.equals(entry.value) ? before : entry;
    };
    const next = new Map(entries.map((entry) => [entry.key, known(entry)]));
    const changed = differences(this.#entries, next);
    const isFirst = this.#revision === undefined;
    this.#entries = next;
    this.#revision = revision;
    this.#clusterId = clusterId;
    this.#isStale = false;
    this.#note(undefined);
    if (isFirst || changed.length > 0) this.#events.onChange(changed, revision);
  }

  async #watch(): Promise<void> {
    const watching = this.#etcd.watch(this.#prefix, (this.#revision ?? 0) + 1);
    this.#watching = watching;
    for await (const answer of watching) {
      this.#take(answer);
      if (this.#isStale || this.#isClosed()) break;
    }
    watching.close();
  }

  #take(answer: WatchAnswer): void {
    if (answer.kind === 'compacted') {
      this.#isStale = true;
      return;
    }
    this.#note(undefined);
    if (answer.kind === 'created') {
      // A restored backup has the same id and counts on from a lower revision; until it has caught up, a
      // watch on the old one would be silent.
      this.#isStale = answer.revision < (this.#revision ?? 0) || answer.clusterId !== this.#clusterId;
    }
    if (answer.kind !== 'events') return;
    let revision = this.#revision ?? 0;
    for (const { deleted, entry } of answer.events) {
      if (deleted) this.#entries.delete(entry.key);
      else this.#entries.set(entry.key, entry);
      revision = Math.max(revision, entry.modRevision);
    }
    this.#revision = revision;
    this.#events.onChange(
      answer.events.map(({ entry }) => entry.key),
      revision,
    );
  }

  #compareLater(): void {
    const ms = this.#compareTimes.every * (0.8 + 0.4 * Math.random());
    this.#comparing = setTimeout(() => {
      void this.#compare()
        // The watch notices it too, and says so.
        .catch(() => {})
        .finally(() => this.#isClosed() || this.#compareLater());
    }, ms).unref();
  }

  /** Heals whatever the watch missed: events lost after a compaction, a restored backup. */
  async #compare(): Promise<void> {
    const revision = this.#revision;
    if (revision === undefined || this.#connected !== true) return;
    const read = await this.#etcd.range(this.#prefix, { keysOnly: true });
    const theirs = new Map(read.entries.map((entry) => [entry.key, entry]));
    const suspects = differences(this.#entries, theirs);
    if (suspects.length > 0) {
      await sleep(this.#compareTimes.lasts, undefined, { signal: this.#ending.signal, ref: false });
    }
    const isMissing = (key: string) => {
      const [ours, was] = [this.#entries.get(key), theirs.get(key)];
      return was === undefined
        ? ours !== undefined && ours.modRevision <= read.revision
        : (ours?.modRevision ?? 0) < was.modRevision;
    };
    const isRestored = read.revision < revision;
    // A key that was deleted since then is not there either; reading everything once more does no harm.
    if (!isRestored && !suspects.some(isMissing)) return;
    this.#isStale = true;
    this.#events.onEventsLost();
    this.#watching?.close();
  }
}

function differences(ours: ReadonlyMap<string, KeyValue>, theirs: ReadonlyMap<string, KeyValue>): string[] {
  const isChanged = (key: string) => ours.get(key)?.modRevision !== theirs.get(key)?.modRevision;
  return [...new Set([...ours.keys(), ...theirs.keys()])].filter(isChanged);
}

/**
 * The configuration source of a machine in a cluster: its own file, and what etcd holds. At any moment it
 * offers, whole, the state of etcd at one revision, in which each faulty object is replaced by its last valid
 * version. If etcd is lost, nothing changes.
 */
import type { Logger } from 'pino';
import { ConfigError } from '../config/finding.ts';
import type { ClusterConfig } from '../config/schema/schema.ts';
import type { ConfigSource, Offer, Watch } from '../config/source.ts';
import type { FileOffer, FileSource, FileWatch } from '../config/sources/file.ts';
import type { ProxyError } from '../errors.ts';
import { inSlices } from '../process/pacer.ts';
import { type Base, parseBase } from './compose.ts';
import { type Cluster, openCluster, openSeal, useCredentials } from './connect.ts';
import { type Follower, follow } from './follow.ts';
import { type Gathered, Gatherer } from './gather.ts';
import { formatObjectName } from './keys.ts';
import { createMemory, type Held, loadState, type Objects, type Stored } from './load-state.ts';
import { createMember, type Member } from './member.ts';
import type { ObjectContext } from './objects.ts';
import { Obstacles } from './obstacles.ts';
import type { Seal } from './seal.ts';
import { linesOf, placeOf, readSnapshot, type Snapshot } from './snapshot.ts';
import { SnapshotFile } from './snapshot-file.ts';

/** How long a start waits for etcd before it serves the snapshot. */
const startMs = 3000;
/** A machine's file may be faulty for a moment, while certificates are replaced. */
const retryMs = 5000;
/** How often addresses that could not be bound are tried (ms). */
const bindEvery = 10_000;
/** Faulty objects whose history is looked up at once. */
const mostLookedUp = 100;

type Taken = {
  readonly file: FileOffer;
  readonly state: Gathered | undefined;
  readonly held: readonly Held[];
};

/** What an offer is made of. */
type Basis = { readonly file: FileOffer; readonly seal: Seal };

export class ClusterSource implements ConfigSource {
  readonly name: string;
  readonly member: Member;
  readonly #file: FileSource;
  readonly #cluster: Cluster;
  readonly #follower: Follower;
  readonly #gatherer: Gatherer;
  readonly #memory = createMemory(inSlices);
  readonly #snapshot: SnapshotFile | undefined;
  #lastValid: Objects;
  #taken: Taken;
  #base: { readonly file: FileOffer; readonly parsed: Base } | undefined;
  #onState: () => void = () => {};
  #logger: Logger | undefined;
  #retry: NodeJS.Timeout | undefined;
  readonly #obstacles = new Obstacles();
  /** Something can be bound that could not before. */
  #isFreed = false;
  readonly #binding: NodeJS.Timeout;
  readonly #lookedUp = new Set<string>();

  constructor(file: FileSource, first: FileOffer, cluster: Cluster, snapshot: Snapshot | undefined) {
    this.name = file.name;
    this.#file = file;
    this.#cluster = cluster;
    this.#lastValid = snapshot?.lastValid ?? new Map();
    this.#taken = { file: first, state: undefined, held: [] };
    const copy = () => this.#follower.copy();
    this.#gatherer = new Gatherer(cluster.keys, copy, snapshot, () => {
      this.member.report(this.#taken, this.#gatherer.alarm);
      this.#onState();
    });
    this.member = createMember(cluster, {
      copy,
      rotateEvery: () => this.#taken.file.loaded.config.session_tickets.rotate,
      tickets: snapshot?.tickets,
      onTickets: () => this.#keep(),
    });
    this.#follower = follow(cluster.etcd, cluster.keys.root, {
      onChange: (keys, revision) => {
        this.member.changed(keys);
        this.#gatherer.changed(keys, revision);
      },
      onConnected: (fault: ProxyError | undefined) => this.member.connected(fault),
      onEventsLost: () => this.member.lostEvents(),
    });
    const at = placeOf(cluster);
    this.#snapshot =
      at &&
      new SnapshotFile(
        at,
        () => cluster.seal,
        (err) => this.#tellUnwritten(err),
      );
    this.#binding = setInterval(() => void this.#bindAgain(), bindEvery).unref();
  }

  /** The first offer: what etcd says, or after a while what was served last, or else the file alone. */
  async start(): Promise<Offer> {
    const baseline = this.#gatherer.state;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, startMs);
      this.#onState = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#onState = () => {};
    if (this.#gatherer.state === baseline && baseline !== undefined) this.member.fromSnapshot();
    return this.#compose(this.#basedOn(this.#taken.file));
  }

  /** Reads the secrets again, too. */
  async load(): Promise<Offer> {
    const file = await this.#file.load();
    const { seal: secrets } = file.loaded.config.cluster ?? this.#cluster.config;
    const seal = await openSeal(secrets, ['cluster', 'seal']);
    return this.#compose(seal.id === this.#cluster.seal.id ? this.#basedOn(file) : { file, seal });
  }

  watch(onNews: () => void, logger: Logger): Watch {
    this.#logger = logger;
    this.member.log(logger);
    this.#onState = () => {
      if (this.#isBehind()) onNews();
    };
    const inner = this.#file.watch(onNews, logger);
    let isFile = false;
    return {
      get reason() {
        return isFile ? inner.reason : 'the cluster changed';
      },
      hasNews: async () => {
        isFile = await inner.hasNews();
        return isFile || this.#isBehind();
      },
      news: () => this.#news(isFile ? inner : undefined, onNews),
      close: () => {
        clearTimeout(this.#retry);
        inner.close();
      },
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#binding);
    this.#follower.close();
    this.#gatherer.close();
    await Promise.allSettled([this.#file.close(), this.member.close(), this.#snapshot?.close()]);
    this.#cluster.etcd.close();
  }

  #isBehind(): boolean {
    return this.#isFreed || this.#gatherer.state !== this.#taken.state;
  }

  async #bindAgain(): Promise<void> {
    if (!(await this.#obstacles.retry())) return;
    this.#isFreed = true;
    this.#onState();
  }

  async #news(file: FileWatch | undefined, onNews: () => void): Promise<Offer> {
    try {
      return await this.#compose(this.#basedOn(file ? await file.news() : this.#taken.file));
    } catch (error) {
      clearTimeout(this.#retry);
      this.#retry = setTimeout(onNews, retryMs).unref();
      throw error;
    }
  }

  #basedOn(file: FileOffer): Basis {
    return { file, seal: this.#cluster.seal };
  }

  async #compose(basis: Basis): Promise<Offer> {
    const { file } = basis;
    const state = this.#gatherer.state;
    this.#isFreed = false;
    if (state === undefined)
      return { loaded: file.loaded, take: () => this.#take({ file, state, held: [] }, new Map(), basis) };
    let result = await this.#load(basis, state);
    if (await this.#lookUp(result.held)) result = await this.#load(basis, state);
    const { loaded, held, lastValid } = result;
    if (basis.seal !== this.#cluster.seal) this.#refuseWithout(held);
    return {
      loaded,
      take: () => this.#take({ file, state, held }, lastValid, basis),
      without: async (faults) =>
        this.#obstacles.learn(faults, lastValid) ? this.#compose(basis) : undefined,
    };
  }

  /** Throws a ConfigError if other secrets no longer open what is served. */
  #refuseWithout(held: readonly Held[]): void {
    const known = new Set(this.#taken.held.map(keyOfHeld));
    const { revision = 0 } = this.#taken.state ?? {};
    const closed = held.filter((one) => one.revision <= revision && !known.has(keyOfHeld(one)));
    if (closed.length > 0) throw new ConfigError(closed.flatMap(({ findings }) => findings));
  }

  #load({ file, seal }: Basis, { objects }: Gathered) {
    const { keys, config } = this.#cluster;
    const { modules } = file.loaded.config.cluster ?? config;
    const base = this.#baseOf(file);
    const obstacle: ObjectContext['obstacle'] = (name, text) =>
      name.kind === 'listeners' ? this.#obstacles.of(formatObjectName(name), text) : undefined;
    const context = { seal, modules, obstacle };
    const state = { objects, lastValid: this.#lastValid };
    return loadState(base, state, keys, context, this.#memory);
  }

  /** A file that says the same is the same base, and what was checked with it need not be checked again. */
  #baseOf(file: FileOffer): Base {
    const known = this.#base;
    if (known && Buffer.from(known.file.text.text).equals(Buffer.from(file.text.text))) return known.parsed;
    const parsed = parseBase(file.text);
    this.#base = { file, parsed };
    return parsed;
  }

  /** Looks for the last valid version of faulty objects in etcd's own history. */
  async #lookUp(held: readonly Held[]): Promise<boolean> {
    const { etcd, keys } = this.#cluster;
    const found = new Map<string, Stored>();
    for (const { name, revision } of held.slice(0, mostLookedUp)) {
      const version = `${name} ${revision}`;
      if (this.#lastValid.has(name) || this.#lookedUp.has(version) || revision <= 1) continue;
      this.#lookedUp.add(version);
      // It may have been compacted.
      const answer = await etcd.get(keys.config + name, { revision: revision - 1 }).catch(() => undefined);
      if (answer?.entry)
        found.set(name, { text: answer.entry.value.toString(), revision: answer.entry.modRevision });
    }
    if (found.size === 0) return false;
    this.#lastValid = new Map([...this.#lastValid, ...found]);
    return true;
  }

  async #take(taken: Taken, lastValid: Objects, { file, seal }: Basis): Promise<void> {
    await file.take();
    const before = new Set(this.#taken.held.map(keyOfHeld));
    for (const one of taken.held) {
      if (before.has(keyOfHeld(one))) continue;
      const { name: object, revision, faults, serving } = one;
      this.#logger?.error(
        { code: 'ERR_CLUSTER_HELD', object, revision, faults, serving },
        'an object is held back',
      );
    }
    if (taken.state !== this.#taken.state && taken.state?.objects.size === 0) {
      const { root: prefix } = this.#cluster.keys;
      const hint = 'are its name and prefix right, and has `penstock cluster apply` been run?';
      this.#logger?.warn({ prefix, hint }, 'etcd has no objects of this cluster');
    }
    this.#taken = taken;
    if (taken.state !== undefined) this.#lastValid = lastValid;
    await this.#useSecrets(file, seal);
    this.member.report(taken, this.#gatherer.alarm);
    this.#keep();
    // Something may have changed meanwhile.
    this.#onState();
  }

  /** Those that open objects, and those by which etcd knows this machine. */
  async #useSecrets({ loaded }: FileOffer, seal: Seal): Promise<void> {
    await useCredentials(this.#cluster, loaded, this.#logger);
    if (seal === this.#cluster.seal) return;
    this.#cluster.seal = seal;
    this.member.unsealAgain();
  }

  /** Writes what is served to disk, soon. */
  #keep(): void {
    const { state } = this.#taken;
    const lastValid = this.#lastValid;
    if (state === undefined) return;
    this.#snapshot?.keep(() => linesOf({ ...state, lastValid, tickets: this.member.tickets() }));
  }

  #tellUnwritten(err: unknown): void {
    this.#logger?.error(
      { err },
      'the snapshot of the cluster cannot be written: a restart without etcd would not serve it',
    );
  }
}

function keyOfHeld({ name, revision, faults }: Held): string {
  return JSON.stringify([name, revision, faults]);
}

/** Rejects with a ConfigError if the secrets that the file names cannot be read. */
export async function openClusterSource(
  file: FileSource,
  first: FileOffer,
  config: ClusterConfig,
): Promise<ClusterSource> {
  const cluster = await openCluster(first.loaded, config);
  return new ClusterSource(file, first, cluster, await readSnapshot(cluster));
}

/**
 * The connections kept ready to one endpoint. Each is replaced when it is taken, and before it gets too old.
 */
import type { Logger } from 'pino';
import type { UpstreamConfig } from '../../config/schema/schema.ts';
import { ProxyError } from '../../errors.ts';
import { LightAbortSignal, type Signal } from '../../net/abort-signal.ts';
import { normalizeAddress } from '../../net/address.ts';
import type { Stream } from '../../net/stream.ts';
import type { Descriptors } from '../../process/descriptors.ts';
import { connect } from '../connect.ts';
import { Deadline, untilAborted } from '../deadline.ts';
import type { Endpoint } from '../endpoint.ts';
import { takesConnections, watchDown } from '../endpoint-state.ts';
import type { Upstream } from '../upstream.ts';
import { Hold } from './hold.ts';
import { afterFailure, afterNoRoom, unhindered } from './pace.ts';
import { type Begins, WarmConnection } from './warm-connection.ts';

type Warm = NonNullable<UpstreamConfig['warm']>;

/** What became of warm connections, and of the clients that wanted one, since the process started. */
export type WarmCounts = { taken: number; missed: number; closed: number; expired: number };

export type ShelfParts<Begun extends Begins> = {
  readonly upstream: Upstream;
  readonly settings: Warm;
  readonly descriptors: Pick<Descriptors, 'takeSpare' | 'give'>;
  readonly logger: Pick<Logger, 'debug' | 'info'>;
  readonly counts: WarmCounts;
  /** What to do after connecting, like `prepare` of a dial. */
  readonly begin: (side: Stream, endpoint: Endpoint, signal: Signal) => Promise<Begun> | Begun;
  /** Whether only a splice will read the connections. */
  readonly isForSplice: boolean;
};

type Kept<Begun extends Begins> = {
  readonly connection: WarmConnection<Begun>;
  readonly hold: Hold;
  /** When to make another one in its place, by `performance.now()`. */
  readonly renewAt: number;
};

export class Shelf<Begun extends Begins> {
  readonly #endpoint: Endpoint;
  readonly #parts: ShelfParts<Begun>;
  readonly #unwatch: () => void;
  /** Closing the shelf also ends the connections that are still being made. */
  readonly #closed = new LightAbortSignal();
  /** Oldest first, and taken in this order, because a connection that is taken need not be renewed. */
  #kept: Kept<Begun>[] = [];
  #making = 0;
  #pace = unhindered;
  #timer: NodeJS.Timeout | undefined;
  #hasSaidWhy = false;

  constructor(endpoint: Endpoint, parts: ShelfParts<Begun>) {
    this.#endpoint = endpoint;
    this.#parts = parts;
    this.#unwatch = watchDown(endpoint.state, () => this.#clear());
    this.#tend();
  }

  /** Gives the caller the oldest connection that is still alive, and makes another in its place. */
  take(): Begun | undefined {
    const { counts } = this.#parts;
    // With `all_down: try_anyway`, a client may come while the endpoint is down.
    if (!takesConnections(this.#endpoint.state)) this.#clear();
    let kept = this.#kept[0];
    while (kept?.connection.isDead()) {
      this.#lose(kept);
      kept = this.#kept[0];
    }
    if (kept === undefined) {
      counts.missed += 1;
      return undefined;
    }
    this.#remove(kept);
    kept.hold.handOver();
    counts.taken += 1;
    // Somebody uses it, so failures no longer slow us down.
    this.#pace = unhindered;
    // The client comes first.
    setImmediate(() => this.#tend());
    return kept.connection.take();
  }

  /** Call it when the name's addresses change: drops connections to any other address. */
  keepOnly(addresses: readonly string[]): void {
    const known = new Set(addresses);
    const isElsewhere = ({ connection }: Kept<Begun>) => {
      const { remoteAddress } = connection.begun.stream.raw;
      return remoteAddress !== undefined && !known.has(normalizeAddress(remoteAddress));
    };
    for (const kept of this.#kept.filter(isElsewhere)) this.#drop(kept);
    this.#tend();
  }

  /** Ends all connections, and makes no more. */
  close(): void {
    this.#unwatch();
    clearTimeout(this.#timer);
    this.#closed.abort(new Error('it is not kept ready any more'));
    this.#clear();
  }

  #tend(): void {
    if (this.#closed.aborted) return;
    const now = performance.now();
    if (takesConnections(this.#endpoint.state)) {
      this.#expire(now);
      this.#fill(now);
    } else {
      this.#clear();
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tend(), this.#untilNext(now)).unref();
  }

  #expire(now: number): void {
    const { settings, counts } = this.#parts;
    const isOld = ({ connection }: Kept<Begun>) => now - connection.madeAt >= settings.max_age;
    const beyond = this.#kept.length - settings.connections;
    const old = this.#kept.filter((kept, index) => isOld(kept) || (index < beyond && kept.renewAt <= now));
    for (const kept of old) {
      counts.expired += 1;
      this.#drop(kept);
    }
  }

  #fill(now: number): void {
    if (now < this.#pace.notBefore) return;
    const young = this.#kept.filter(({ renewAt }) => now < renewAt).length;
    const missing = this.#parts.settings.connections - young - this.#making;
    for (let left = Math.min(missing, mostMaking - this.#making); left > 0; left -= 1) void this.#make();
  }

  #untilNext(now: number): number {
    const { notBefore } = this.#pace;
    const { max_age } = this.#parts.settings;
    const ages = this.#kept.flatMap(({ renewAt, connection }) => [renewAt, connection.madeAt + max_age]);
    const due = [now + lookMs, ...ages];
    if (notBefore > now) due.push(notBefore);
    return Math.max(Math.min(...due.filter((at) => at > now)) - now, 1);
  }

  async #make(): Promise<void> {
    const { logger, upstream } = this.#parts;
    const { label } = this.#endpoint;
    this.#making += 1;
    const hold = new Hold(this.#parts, this.#closed);
    try {
      if (await hold.enter()) this.#keep(await this.#connect(hold), hold);
      else this.#pace = afterNoRoom(this.#pace, performance.now());
    } catch (error) {
      hold.destroy();
      if (!hold.signal.aborted) {
        this.#pace = afterFailure(this.#pace, performance.now());
        logger.debug({ upstream: upstream.name, endpoint: label, err: error }, 'no warm connection');
      }
    } finally {
      this.#making -= 1;
      this.#tend();
    }
  }

  async #connect(hold: Hold): Promise<Begun> {
    const { upstream, begin, isForSplice, descriptors } = this.#parts;
    const { label } = this.#endpoint;
    const ms = upstream.config.timeouts.connect;
    const deadline = new Deadline(ms, hold.signal, () => timedOut(label, ms));
    try {
      const destination = await upstream.destination(this.#endpoint, deadline);
      const side = await connect(destination, deadline, { isForSplice, descriptors });
      hold.opened(side);
      const begun = begin(side, this.#endpoint, deadline);
      return begun instanceof Promise ? await untilAborted(begun, deadline) : begun;
    } finally {
      deadline.stop();
    }
  }

  #keep(begun: Begun, hold: Hold): void {
    hold.signal.throwIfAborted();
    const { max_age } = this.#parts.settings;
    const connection = new WarmConnection(begun, () => this.#lose(kept));
    // Random, so that connections made together are not renewed together.
    const renewAt = connection.madeAt + max_age * (0.7 + 0.2 * Math.random());
    const kept: Kept<Begun> = { connection, hold, renewAt };
    hold.signal.addEventListener('abort', () => this.#drop(kept));
    this.#kept.push(kept);
    this.#endpoint.state.warm += 1;
  }

  /** The upstream has closed the connection. */
  #lose(kept: Kept<Begun>): void {
    if (!this.#remove(kept)) return;
    kept.hold.letGo();
    const { counts } = this.#parts;
    counts.closed += 1;
    this.#pace = afterFailure(this.#pace, performance.now());
    this.#sayWhy(performance.now() - kept.connection.madeAt);
    this.#tend();
  }

  /** Only once: an upstream that closes silent connections before `max_age` would do it over and over. */
  #sayWhy(ageMs: number): void {
    if (this.#hasSaidWhy) return;
    this.#hasSaidWhy = true;
    const { logger, upstream, settings } = this.#parts;
    logger.info(
      {
        upstream: upstream.name,
        endpoint: this.#endpoint.label,
        age_ms: Math.round(ageMs),
        max_age_ms: settings.max_age,
        hint: 'if it always does so at this age, set warm.max_age below it',
      },
      'the upstream closed a warm connection',
    );
  }

  #clear(): void {
    for (const kept of [...this.#kept]) this.#drop(kept);
  }

  /** Closes a connection ourselves. */
  #drop(kept: Kept<Begun>): void {
    if (!this.#remove(kept)) return;
    kept.hold.letGo();
    kept.connection.close();
  }

  #remove(kept: Kept<Begun>): boolean {
    const index = this.#kept.indexOf(kept);
    if (index < 0) return false;
    this.#kept.splice(index, 1);
    this.#endpoint.state.warm -= 1;
    return true;
  }
}

/** How often, at least, to look whether the endpoint is up. */
const lookMs = 1000;
/** How many to make at a time, so that a large shelf is not filled in one rush. */
const mostMaking = 8;

function timedOut(label: string, ms: number): ProxyError {
  return new ProxyError('ERR_UPSTREAM_CONNECT_TIMEOUT', {
    side: 'upstream',
    message: `${label} was not ready within ${ms} ms`,
  });
}

/** One TCP or unix connection, raced across the addresses of a name. */
import { type NetConnectOpts, connect as open, type Socket } from 'node:net';
import { ProxyError, systemCode } from '../errors.ts';
import type { Signal } from '../net/abort-signal.ts';
import { formatAddress } from '../net/address.ts';
import { createReader, type Reader } from '../net/reader.ts';
import type { Stream } from '../net/stream.ts';
import { type Descriptors, unbounded } from '../process/descriptors.ts';

/** `addresses` are tried in order, alternating between IPv6 and IPv4; at least one is needed. */
export type Destination =
  | { readonly label: string; readonly path: string }
  | { readonly label: string; readonly addresses: readonly string[]; readonly port: number };

type ConnectOptions = {
  /** Only a splice will read it, so it gets a reader, which costs less than 'data' events. */
  readonly isForSplice?: boolean | undefined;
  /** Where to count sockets beyond the first. */
  readonly descriptors?: Pick<Descriptors, 'takeSpare' | 'give'> | undefined;
};

/**
 * Resolves with a connected socket, half-open allowed, with no delay. It is not flowing yet, and has an
 * 'error' listener, so that nothing can crash before the caller attaches its own. The caller owns it from
 * then on. Dials exactly the addresses given.
 *
 * Happy eyeballs (RFC 8305): tries the next address when one fails, or in parallel after 250 ms; the first to
 * connect wins. The caller counts one socket; each further one needs room in `descriptors`, and waits until
 * there is some. Node's own (autoSelectFamily) abandons an address after those 250 ms, so for an upstream
 * farther away than that it could only ever reach the last address.
 *
 * Throws ERR_UPSTREAM_CONNECT, ERR_UPSTREAM_CONNECT_TIMEOUT (the system's own time-out),
 * ERR_DESCRIPTORS_EXHAUSTED, or the signal's reason.
 */
export function connect(
  destination: Destination,
  signal: Signal,
  { isForSplice = false, descriptors = unbounded }: ConnectOptions = {},
): Promise<Stream> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    new Race(destination, signal, { isForSplice, descriptors, resolve, reject }).tryNext();
  });
}

type RaceOptions = Required<ConnectOptions> & {
  readonly isForSplice: boolean;
  readonly descriptors: Pick<Descriptors, 'takeSpare' | 'give'>;
  readonly resolve: (stream: Stream) => void;
  readonly reject: (reason: unknown) => void;
};

/** The sockets of one dial that are still connecting. The caller counts the descriptor of one of them. */
class Race {
  readonly #destination: Destination;
  readonly #attempts: readonly NetConnectOpts[];
  readonly #reader: Reader | undefined;
  readonly #signal: Signal;
  readonly #options: RaceOptions;
  /** Mostly one: several if a name has several addresses that answer late. */
  readonly #connecting: Racer[] = [];
  #next = 0;
  #stagger: NodeJS.Timeout | undefined;
  /** How many descriptors beside the first we have counted. */
  #beside = 0;

  constructor(destination: Destination, signal: Signal, options: RaceOptions) {
    this.#destination = destination;
    this.#signal = signal;
    this.#options = options;
    this.#reader = options.isForSplice ? createReader() : undefined;
    this.#attempts = attemptsFor(destination, this.#reader);
    signal.addEventListener('abort', this, { once: true });
  }

  /** Dials the next address, if there is one. */
  tryNext(): void {
    const attempt = this.#attempts[this.#next];
    if (attempt === undefined) return;
    const hasMore = this.#next + 1 < this.#attempts.length;
    if (this.#hasRoom()) {
      this.#next += 1;
      this.#open(attempt);
      if (!hasMore) return;
    }
    this.#stagger = setTimeout(Race.#onStagger, staggerMs, this);
  }

  /** The signal has aborted. */
  handleEvent(): void {
    this.#finish();
    this.#options.reject(this.#signal.reason);
  }

  #open(attempt: NetConnectOpts): void {
    const socket: Racer = open(attempt);
    if (this.#reader) socket.pause();
    socket[race] = this;
    this.#connecting.push(socket);
    // These stay for ever: they prevent a crash, and after the race they do
    // nothing. 'close' reports a failure.
    socket.on('connect', Race.#onConnect);
    socket.on('error', Race.#onError);
  }

  #won(socket: Racer): void {
    this.#remove(socket);
    this.#finish();
    this.#options.resolve({ stream: socket, raw: socket, reader: this.#reader });
  }

  #lost(socket: Racer, error: Error): void {
    this.#remove(socket);
    clearTimeout(this.#stagger);
    if (this.#next < this.#attempts.length) {
      this.tryNext();
    } else if (this.#connecting.length === 0) {
      this.#finish();
      this.#options.reject(connectError(this.#destination, error));
    }
  }

  /** Ends those that are still connecting. */
  #finish(): void {
    clearTimeout(this.#stagger);
    this.#signal.removeEventListener('abort', this);
    for (const socket of this.#connecting) {
      socket[race] = undefined;
      socket.destroy();
    }
    this.#connecting.length = 0;
    this.#countOut();
  }

  /** Counts another socket in, if there is room for it. */
  #hasRoom(): boolean {
    if (this.#connecting.length === 0) return true;
    if (!this.#options.descriptors.takeSpare()) return false;
    this.#beside += 1;
    return true;
  }

  #remove(socket: Racer): void {
    socket[race] = undefined;
    const place = this.#connecting.indexOf(socket);
    if (place >= 0) this.#connecting.splice(place, 1);
    this.#countOut();
  }

  #countOut(): void {
    const extra = Math.max(0, this.#connecting.length - 1);
    if (this.#beside > extra) this.#options.descriptors.give(this.#beside - extra);
    this.#beside = extra;
  }

  static readonly #onConnect = function (this: Racer): void {
    const it = this[race];
    if (it) it.#won(this);
  };

  static readonly #onError = function (this: Racer, error: Error): void {
    const it = this[race];
    if (it) it.#lost(this, error);
  };

  static #onStagger(self: Race): void {
    self.tryNext();
  }
}

/** The race of a socket, until it is decided. With this property all sockets can share their listeners. */
const race = Symbol('race');
type Racer = Socket & { [race]?: Race | undefined };

const staggerMs = 250;

function attemptsFor(destination: Destination, reader: Reader | undefined): NetConnectOpts[] {
  const onread = reader?.onread;
  if ('path' in destination) return [{ path: destination.path, allowHalfOpen: true, onread }];
  const { addresses, port } = destination;
  return inTurns(addresses).map((host) => ({ host, port, allowHalfOpen: true, noDelay: true, onread }));
}

/** IPv6 and IPv4 alternating, starting with the family of the first address (RFC 8305 §4). */
function inTurns(addresses: readonly string[]): readonly string[] {
  if (addresses.length < 2) return addresses;
  const startsV6 = addresses[0]?.includes(':');
  const first = addresses.filter((address) => address.includes(':') === startsV6);
  const second = addresses.filter((address) => address.includes(':') !== startsV6);
  const rounds = Array.from({ length: Math.max(first.length, second.length) });
  return rounds.flatMap((_, index) => [...first.slice(index, index + 1), ...second.slice(index, index + 1)]);
}

function connectError(destination: Destination, error: Error): ProxyError {
  const code = systemCode(error);
  const where = placeOf(destination, error);
  if (code === 'EMFILE' || code === 'ENFILE') {
    return new ProxyError('ERR_DESCRIPTORS_EXHAUSTED', {
      side: 'proxy',
      message: `no descriptor was left to connect to ${where} (${code})`,
      hint: 'raise the limit of open files (LimitNOFILE, ulimit -n)',
      cause: error,
    });
  }
  const { what, hint } = failures[code] ?? { what: 'could not be connected to', hint: undefined };
  return new ProxyError(code === 'ETIMEDOUT' ? 'ERR_UPSTREAM_CONNECT_TIMEOUT' : 'ERR_UPSTREAM_CONNECT', {
    side: 'upstream',
    message: `${where} ${what} (${code})`,
    hint,
    cause: error,
  });
}

const failures: Readonly<Record<string, { what: string; hint: string } | undefined>> = {
  ECONNREFUSED: { what: 'refused the connection', hint: 'check that the service runs and listens there' },
  ECONNRESET: { what: 'reset the connection', hint: 'check the service, and firewalls on the way' },
  ETIMEDOUT: { what: 'did not answer', hint: 'check the address and the firewall' },
  EHOSTUNREACH: { what: 'cannot be reached', hint: 'check the address, the route and the firewall' },
  ENETUNREACH: { what: 'cannot be reached', hint: 'this machine has no route to that network' },
  EADDRNOTAVAIL: {
    what: 'could not be connected to',
    hint: 'local ports may be used up: see net.ipv4.ip_local_port_range',
  },
  ENOENT: { what: 'does not exist', hint: 'check the path, and that the service runs' },
  EACCES: { what: 'may not be used by this user', hint: "check the socket's mode and group" },
  EAGAIN: { what: 'takes no more connections', hint: "the service's backlog is full" },
};

/** The label, plus the address it stood for this time if that adds anything. */
function placeOf(destination: Destination, error: Error & { readonly address?: string }): string {
  const { label } = destination;
  if ('path' in destination || error.address === undefined) return label;
  const place = formatAddress({ address: error.address, port: destination.port });
  return place === label ? label : `${label} (${error.address})`;
}

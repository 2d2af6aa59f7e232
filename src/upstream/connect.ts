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
    const reader = isForSplice ? createReader() : undefined;
    const attempts = attemptsFor(destination, reader);
    const race = new Race(descriptors);
    let next = 0;
    let stagger: NodeJS.Timeout | undefined;
    const finish = () => {
      clearTimeout(stagger);
      signal.removeEventListener('abort', onAbort);
      race.end();
    };
    const onAbort = () => {
      finish();
      reject(signal.reason);
    };
    const tryNext = () => {
      const options = attempts[next];
      if (!options) return;
      if (!race.hasRoom()) {
        stagger = setTimeout(tryNext, staggerMs);
        return;
      }
      next += 1;
      const socket = open(options);
      if (reader) socket.pause();
      race.add(socket);
      const onError = (error: Error) => {
        if (!race.remove(socket)) return;
        clearTimeout(stagger);
        if (next < attempts.length) return tryNext();
        if (!race.isEmpty()) return;
        finish();
        reject(connectError(destination, options, error));
      };
      socket.once('connect', () => {
        race.remove(socket);
        finish();
        // This one stays for ever: it prevents a crash and holds nothing of the
        // race. 'close' reports the failure.
        socket.on('error', ignore);
        socket.off('error', onError);
        resolve({ stream: socket, raw: socket, reader });
      });
      socket.on('error', onError);
      if (next < attempts.length) stagger = setTimeout(tryNext, staggerMs);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    tryNext();
  });
}

/**
 * The sockets that are still connecting, and the descriptors of all but one of them, which the caller counts.
 */
class Race {
  readonly #descriptors: Pick<Descriptors, 'takeSpare' | 'give'>;
  readonly #connecting = new Set<Socket>();
  #beside = 0;

  constructor(descriptors: Pick<Descriptors, 'takeSpare' | 'give'>) {
    this.#descriptors = descriptors;
  }

  isEmpty(): boolean {
    return this.#connecting.size === 0;
  }

  /** Counts another socket in, if there is room for it; call `add` next. */
  hasRoom(): boolean {
    if (this.isEmpty()) return true;
    if (!this.#descriptors.takeSpare()) return false;
    this.#beside += 1;
    return true;
  }

  add(socket: Socket): void {
    this.#connecting.add(socket);
  }

  /** Returns false if this socket was not in the race. */
  remove(socket: Socket): boolean {
    const was = this.#connecting.delete(socket);
    if (was) this.#countOut();
    return was;
  }

  end(): void {
    for (const socket of this.#connecting) socket.destroy();
    this.#connecting.clear();
    this.#countOut();
  }

  #countOut(): void {
    const extra = Math.max(0, this.#connecting.size - 1);
    if (this.#beside > extra) this.#descriptors.give(this.#beside - extra);
    this.#beside = extra;
  }
}

const staggerMs = 250;

function ignore(): void {}

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

function connectError(destination: Destination, options: NetConnectOpts, error: Error): ProxyError {
  const code = systemCode(error);
  const where =
    'path' in options ? destination.label : placeOf(destination.label, options.host, options.port);
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
function placeOf(label: string, host: string | undefined, port: number): string {
  const address = formatAddress({ address: host ?? '', port });
  return address === label ? label : `${label} (${host})`;
}

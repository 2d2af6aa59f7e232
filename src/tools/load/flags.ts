/** The flags of `penstock load`, for commander. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type ProtocolName, protocolNames } from '../../protocols/table.ts';

export type LoadFlags = {
  readonly connections?: number;
  readonly duration?: number;
  readonly warmup: number;
  readonly concurrency?: number;
  readonly rate?: number;
  readonly maxOpen?: number;
  readonly processes: number;
  readonly plain?: boolean;
  readonly tls?: '1.2' | '1.3';
  readonly resume?: boolean;
  readonly sni: readonly string[];
  readonly alpn: readonly string[];
  readonly cert?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly ciphers?: string;
  readonly groups?: string;
  readonly sigalgs?: string;
  readonly starttls?: ProtocolName;
  readonly proxyHeader?: 'v1' | 'v2';
  readonly messages?: number;
  readonly size?: number;
  readonly send?: string;
  readonly expectBytes?: number;
  readonly untilClose?: boolean;
  readonly up?: number;
  readonly down?: number;
  readonly hold: number;
  readonly close: 'fin' | 'reset';
  readonly timeout: number;
  readonly json?: boolean;
  readonly assert: readonly string[];
  readonly iOwnThisTarget?: boolean;
  readonly progress: boolean;
};

const hour = 3_600_000;

/** Adds the argument and the flags to the command. */
export function addLoadFlags(command: Command): Command {
  const flags = [...paceFlags(), ...offerFlags(), ...talkFlags()];
  command.argument('<target>', 'host:port, [v6]:port or unix:/path');
  for (const flag of flags) command.addOption(flag);
  return command;
}

/** How many connections, and how fast. */
function paceFlags(): Option[] {
  return [
    option('-n, --connections <n>', 'total number of connections', whole(1, 10_000_000)),
    option('--duration <d>', 'how long (default: 10s, unless --connections is given)', time(1, 24 * hour)),
    option('--warmup <d>', 'run this long before counting begins', time(0, 24 * hour)).default(0, 'none'),
    option(
      '-c, --concurrency <n>',
      'connections open at a time, over all processes (default: 10)',
      whole(1, 1_000_000),
    ),
    option('--rate <n>', 'new connections per second, over all processes, however long they take', positive),
    option(
      '--max-open <n>',
      'with --rate: at most this many open at once; more are errors (default: 5000)',
      whole(1, 1_000_000),
    ),
    option('--processes <n>', 'number of processes that share the work', whole(1, 64)).default(1),
  ];
}

/** What the client says before and in its handshake. */
function offerFlags(): Option[] {
  return [
    option('--plain', 'no TLS'),
    option('--tls <version>', 'exactly this TLS version (default: whatever is negotiated)').choices([
      '1.2',
      '1.3',
    ]),
    option('--resume', 'resume sessions: one for each name and process'),
    option(
      '--sni <name>',
      'server name; repeatable, or @FILE with one name per line; used in turn',
      collect,
    ).default([], 'the host of TARGET'),
    option('--alpn <protocol>', 'ALPN protocol to offer; repeatable', collect).default([], 'none'),
    option('--cert <file>', 'client certificate with its chain (PEM)'),
    option('--key <file>', 'its key (PEM)'),
    option('--ca <file>', 'verify the server against this CA, or `system` (default: not verified)'),
    option('--ciphers <list>', "in the format of OpenSSL's ciphers(1); TLS 1.3 suites too"),
    option('--groups <list>', 'key exchange, such as X25519:P-256'),
    option(
      '--sigalgs <list>',
      'signature algorithms, such as rsa_pss_rsae_sha256, which excludes ECDSA certificates',
    ),
    option('--starttls <protocol>', 'before TLS').choices(protocolNames),
    option('--proxy-header <version>', 'send a PROXY header first').choices(['v1', 'v2']),
  ];
}

/** What is sent on a connection, how it ends, and what is reported. */
function talkFlags(): Option[] {
  return [
    option(
      '--messages <n>',
      'messages per connection; each waits for its answer (default: 1)',
      whole(1, 1e9),
    ),
    option('--size <bytes>', 'size of a message; 0: send none (default: 64)', size(0, 2 ** 30)),
    option('--send <text>', 'send this instead of random bytes; \\r \\n \\t \\0 \\xHH \\\\'),
    option('--expect-bytes <n>', 'the length of an answer (default: an echo)', size(1, 2 ** 40)),
    option('--until-close', 'an answer is everything until the other side closes'),
    option('--up <size>', 'send this much, half-close, and wait for the end', size(1, 2 ** 40)),
    option('--down <size>', 'read until this much has arrived', size(1, 2 ** 40)),
    option('--hold <d>', 'stay idle this long before closing', time(0, 24 * hour)).default(0, 'none'),
    option('--close <how>', 'how the client closes').choices(['fin', 'reset']).default('fin'),
    option('--timeout <d>', 'limit for each wait of a connection', time(1, hour)).default(10_000, '10s'),
    option('--json', 'print JSON'),
    option(
      '--assert <expression>',
      "exit with 1 unless this holds, such as 'p99<20ms'; repeatable",
      collect,
    ).default([], 'none'),
    option('--i-own-this-target', 'allow a TARGET that is not on this machine'),
    option('-q, --no-progress', 'draw no progress bar'),
  ];
}

function option<T>(flags: string, description: string, parse?: (text: string, previous: T) => T): Option {
  const made = new Option(flags, description);
  return parse ? made.argParser(parse) : made;
}

function collect(text: string, previous: readonly string[]): readonly string[] {
  return [...previous, text];
}

function whole(min: number, max: number) {
  return (text: string): number => {
    if (!/^\d{1,15}$/.test(text) || Number(text) < min || Number(text) > max) {
      throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`);
    }
    return Number(text);
  };
}

function positive(text: string): number {
  const number = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || number <= 0 || number > 1_000_000) {
    throw new InvalidArgumentError('expected a number of connections per second, at most 1000000.');
  }
  return number;
}

const msIn: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: hour };

function time(min: number, max: number) {
  return (text: string): number => {
    const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
    const ms = text === '0' ? 0 : Number(number) * (msIn[unit] ?? Number.NaN);
    if (!(ms >= min && ms <= max)) {
      throw new InvalidArgumentError(`expected a duration such as 250ms, 5s or 10m, at most ${max / hour}h.`);
    }
    return ms;
  };
}

const bytesIn: Readonly<Record<string, number>> = {
  '': 1,
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
};

function size(min: number, max: number) {
  return (text: string): number => {
    const [, number, unit = 'none'] = /^(\d+(?:\.\d+)?)([KMG]iB|kB|MB|GB|B|)$/.exec(text) ?? [];
    const bytes = Math.round(Number(number) * (bytesIn[unit] ?? Number.NaN));
    if (!(bytes >= min && bytes <= max)) {
      throw new InvalidArgumentError(
        `expected a size such as 200, 64KiB or 1MiB, from ${min} to ${max} bytes.`,
      );
    }
    return bytes;
  };
}

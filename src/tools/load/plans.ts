/** Turns the flags into a plan for each process. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { byteText, serverName } from '../../config/schema/values.ts';
import { softLimit } from '../../process/descriptors.ts';
import { flagOf, UsageError } from '../terminal/usage.ts';
import type { Exchange, Pace, Plan, TlsPlan } from './engine/plan.ts';
import type { LoadFlags } from './flags.ts';
import type { LoadTarget } from './target.ts';

const defaultDurationMs = 10_000;
const defaultConcurrency = 10;
const defaultMaxOpen = 5000;
/** Descriptors of a process for everything except connections. */
const reserve = 50;
const maxNames = 1_000_000;
/** Each session is kept, and takes a separate handshake before the start. */
const maxResumedNames = 10_000;

/**
 * One plan per process, with the work divided evenly. Throws UsageError, also for flags that exclude each
 * other.
 */
export function makePlans(flags: LoadFlags, target: LoadTarget): Plan[] {
  refuseContradictions(flags);
  const concurrency = flags.concurrency ?? defaultConcurrency;
  const processes = Math.min(
    flags.processes,
    flags.connections ?? Number.POSITIVE_INFINITY,
    flags.rate === undefined ? concurrency : Number.POSITIVE_INFINITY,
  );
  const maxOpen = refuseTooMany(flags, concurrency, processes);
  const tls = tlsPlan(flags, target);
  if (tls) tryTls(tls);
  const exchange = exchangeOf(flags);
  const limited = flags.connections !== undefined;
  return Array.from({ length: processes }, (_, index) => ({
    target: target.plan,
    connections: limited ? share(flags.connections, processes, index) : Number.POSITIVE_INFINITY,
    durationMs: flags.duration ?? (limited ? Number.POSITIVE_INFINITY : defaultDurationMs),
    warmupMs: flags.warmup,
    pace: paceOf(flags.rate, { concurrency, maxOpen }, processes, index),
    tls: tls && { ...tls, firstName: Math.floor((index * tls.names.length) / processes) },
    starttls: flags.starttls,
    proxyHeader: flags.proxyHeader,
    exchange,
    holdMs: flags.hold,
    close: flags.close,
    timeoutMs: flags.timeout,
  }));
}

function share(all = 0, processes: number, index: number): number {
  return Math.floor(all / processes) + (index < all % processes ? 1 : 0);
}

function paceOf(
  rate: number | undefined,
  { concurrency, maxOpen }: { readonly concurrency: number; readonly maxOpen: number },
  processes: number,
  index: number,
): Pace {
  if (rate === undefined) return { kind: 'closed', concurrency: share(concurrency, processes, index) };
  return {
    kind: 'open',
    perSecond: rate / processes,
    offsetMs: (index * 1000) / rate,
    maxOpen: Math.max(1, share(maxOpen, processes, index)),
  };
}

/** Returns how many may be open at once with --rate. */
function refuseTooMany({ rate, maxOpen }: LoadFlags, concurrency: number, processes: number): number {
  const room = Math.max(1, softLimit() - reserve) * processes;
  if (rate !== undefined && maxOpen === undefined) return Math.min(defaultMaxOpen, room);
  const [flag, wanted] = rate === undefined ? ['--concurrency', concurrency] : ['--max-open', maxOpen ?? 0];
  if (wanted > room) {
    throw new UsageError(
      `${flag} ${wanted}: there are file descriptors for ${room} connections; raise ulimit -n, or use more --processes`,
    );
  }
  return wanted;
}

/** Finds faults in files and lists before connecting, one by one, since OpenSSL does not say which it was. */
function tryTls({ cert, key, ca, ciphers, groups, sigalgs }: TlsPlan): void {
  const trials: readonly (readonly [flag: string, trial: () => unknown])[] = [
    ['--cert', () => cert && new X509Certificate(cert)],
    ['--key', () => key && createPrivateKey(key)],
    ['--ca', () => ca && ca !== 'system' && new X509Certificate(ca)],
    ['--ciphers', () => ciphers && createSecureContext({ ciphers })],
    ['--groups', () => groups && createSecureContext({ ecdhCurve: groups })],
    ['--sigalgs', () => sigalgs && createSecureContext({ sigalgs })],
  ];
  for (const [flag, trial] of trials) {
    try {
      trial();
    } catch (error) {
      throw new UsageError(`${flag}: OpenSSL does not take it (${(error as Error).message})`);
    }
  }
  // If the key does not match, Node may silently present no certificate.
  if (cert && key && !new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new UsageError('--key is not the key of --cert');
  }
}

function refuseContradictions(flags: LoadFlags): void {
  const given = (names: readonly (keyof LoadFlags)[]) =>
    names.filter((name) => {
      const value = flags[name];
      return value !== undefined && !(Array.isArray(value) && value.length === 0);
    });
  const exclude = (one: keyof LoadFlags, others: readonly (keyof LoadFlags)[]) => {
    const [other] = flags[one] === undefined ? [] : given(others);
    if (other) throw new UsageError(`${flagOf(one)} and ${flagOf(other)} exclude each other`);
  };
  const need = (one: keyof LoadFlags, other: keyof LoadFlags) => {
    if (flags[one] !== undefined && flags[other] === undefined) {
      throw new UsageError(`${flagOf(one)} needs ${flagOf(other)}`);
    }
  };
  const ofTls = ['tls', 'resume', 'sni', 'alpn', 'cert', 'ca', 'ciphers', 'groups', 'sigalgs', 'starttls'];
  exclude('plain', ofTls as (keyof LoadFlags)[]);
  exclude('rate', ['concurrency']);
  need('maxOpen', 'rate');
  exclude('up', ['down', 'messages', 'size', 'send', 'expectBytes', 'untilClose']);
  exclude('down', ['messages', 'size', 'expectBytes', 'untilClose']);
  exclude('send', ['size']);
  exclude('untilClose', ['expectBytes', 'messages']);
  need('cert', 'key');
  need('key', 'cert');
}

function exchangeOf(flags: LoadFlags): Exchange {
  const bytes = flags.send === undefined ? undefined : textOf(flags.send);
  if (flags.up !== undefined) return { kind: 'up', size: flags.up };
  if (flags.down !== undefined) return { kind: 'down', size: flags.down, bytes };
  const size = flags.size ?? 64;
  if (size === 0 && bytes === undefined) return { kind: 'none' };
  return {
    kind: 'messages',
    rounds: flags.messages ?? 1,
    payload: bytes === undefined ? { size } : { bytes },
    answer: flags.untilClose
      ? 'until_close'
      : flags.expectBytes === undefined
        ? 'echo'
        : { size: flags.expectBytes },
  };
}

function textOf(text: string): Buffer {
  const parsed = byteText.safeParse(text);
  if (!parsed.success) throw new UsageError(`--send: ${parsed.error.issues[0]?.message}`);
  return Buffer.from(parsed.data, 'latin1');
}

function tlsPlan(flags: LoadFlags, { host }: LoadTarget): TlsPlan | undefined {
  if (flags.plain) return undefined;
  const version = flags.tls && (`TLSv${flags.tls}` as const);
  const named = flags.sni.length === 0 && host !== undefined && isIP(host) === 0;
  const names = named ? [host] : flags.sni.flatMap(namesOf);
  if (names.length > maxNames || (flags.resume && names.length > maxResumedNames)) {
    throw new UsageError(
      `--sni: ${names.length} names; at most ${maxNames}, or ${maxResumedNames} with --resume`,
    );
  }
  return {
    minVersion: version,
    maxVersion: version,
    ciphers: flags.ciphers,
    groups: flags.groups,
    sigalgs: flags.sigalgs,
    names,
    firstName: 0,
    alpn: flags.alpn,
    cert: flags.cert && readText('--cert', flags.cert),
    key: flags.key && readText('--key', flags.key),
    ca: flags.ca === undefined || flags.ca === 'system' ? flags.ca : readText('--ca', flags.ca),
    host: host ?? 'localhost',
    resume: flags.resume ?? false,
  };
}

function namesOf(given: string): string[] {
  const names = given.startsWith('@') ? readText('--sni', given.slice(1)).split(/\r?\n/) : [given];
  return names
    .map((name) => name.trim())
    .filter((name) => name !== '')
    .map((name) => {
      // A client cannot ask for a route's pattern.
      if (!serverName.safeParse(name).success || name.includes('*')) {
        throw new UsageError(`--sni ${name}: expected a name such as db.example.com`);
      }
      return name;
    });
}

function readText(flag: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${flag} ${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}

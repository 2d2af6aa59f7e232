/** What is measured: one entry a row of the table. */
import { ciphers12, ciphers13, clientGroups, serverName } from './fronts.ts';

export type Workload = {
  readonly id: string;
  readonly title: string;
  readonly front: string;
  /** What a figure is of. */
  readonly unit: 'connection' | 'MiB' | 'message' | 'transaction' | 'idle connection';
  /** How many connections a round has: about one or two seconds of CPU. */
  readonly connections: number;
  readonly concurrency: number;
  /** Units of one connection: 1, or its MiB or messages. */
  readonly unitsEach: number;
  /** Flags of `penstock load` besides those above. */
  readonly flags: readonly string[];
  readonly expect: Expectation;
  /** The peer that it is compared with in place of HAProxy, if that does other work here. */
  readonly baseline?: 'stunnel';
  /** The most that penstock may cost: a ratio to HAProxy (`baseline`), or for memory KiB. */
  readonly target: number | undefined;
};

/** What every connection of a workload must have been. */
export type Expectation = {
  readonly version?: 'TLSv1.2' | 'TLSv1.3';
  readonly cipher?: string;
  readonly group?: string;
  /** The beginning of the key type of the server's certificate. */
  readonly certificate?: 'ec' | 'rsa';
  readonly resumed?: boolean;
};

/** MiB of each connection of the bulk rows. */
const bulkMiB = 128;
const messages = 2000;
const transactions = 1500;

const echo64 = ['--messages', '1', '--size', '64'];
const idle = 4000;
/** 64 bytes of a StartupMessage, without which no session of PostgreSQL begins. */
const startup = `\\0\\0\\0\\x40\\0\\x03\\0\\0user\\0bench\\0application_name\\0${'x'.repeat(26)}\\0\\0`;

/** All rows, in the order of the table. */
export const workloads: readonly Workload[] = [
  full('full-ecdsa', 'full TLS 1.3 handshake, ECDSA P-256', { target: 1.15 }),
  full('full-rsa', 'full TLS 1.3 handshake, RSA-2048', {
    front: 'rsa',
    connections: 1200,
    expect: tls13({ certificate: 'rsa' }),
    target: 1.0,
  }),
  full('full-ecdsa-12', 'full TLS 1.2 handshake, ECDSA P-256', {
    flags: [...client12(), ...echo64],
    expect: tls12({ certificate: 'ec' }),
  }),
  full('full-pq', 'full TLS 1.3 handshake with X25519MLKEM768', {
    front: 'post_quantum',
    flags: [...client13('X25519MLKEM768'), ...echo64],
    expect: tls13({ group: 'X25519MLKEM768' }),
  }),
  full('client-auth', 'full TLS 1.3 handshake, client certificate required', {
    front: 'client_auth',
    connections: 1500,
    flags: [...client13(), ...echo64, '--cert', '{client.cert}', '--key', '{client.key}'],
    target: 0.8,
  }),
  full('rewrap', 'terminate and re-wrap to a mutual-TLS upstream', {
    front: 'rewrap',
    connections: 1000,
    target: 0.8,
  }),
  full('resumed-13', 'resumed TLS 1.3', {
    connections: 2500,
    flags: [...client13(), ...echo64, '--resume'],
    expect: tls13({ resumed: true }),
    target: 1.1,
  }),
  full('resumed-12', 'resumed TLS 1.2', {
    connections: 4000,
    flags: [...client12(), ...echo64, '--resume'],
    // A resumed session of TLS 1.2 has neither certificate nor key exchange.
    expect: { version: 'TLSv1.2', cipher: ciphers12[0]!, resumed: true },
    target: 1.3,
  }),
  full('passthrough', 'passthrough by SNI', {
    front: 'passthrough',
    connections: 4000,
    target: 1.0,
  }),
  full('plain', 'plain TCP connection', {
    front: 'plain',
    connections: 6000,
    flags: ['--plain', ...echo64],
    expect: {},
    target: 1.25,
  }),
  bulk('bulk-plain-up', 'bulk, plain, from the client', 'plain_sink', ['--plain', '--up'], 24),
  bulk('bulk-plain-down', 'bulk, plain, to the client', 'plain_source', ['--plain', '--down'], 24),
  bulk('bulk-tls-up', 'bulk, TLS 1.3, from the client', 'ecdsa_sink', [...client13(), '--up'], 8),
  bulk('bulk-tls-down', 'bulk, TLS 1.3, to the client', 'ecdsa_source', [...client13(), '--down'], 8),
  full('messages', '200 bytes and their answer on an open TLS connection', {
    unit: 'message',
    connections: 16,
    concurrency: 16,
    unitsEach: messages,
    flags: [...client13(), '--messages', String(messages), '--size', '200'],
    target: 1.3,
  }),
  full('pgbench', '`pgbench -S` through PostgreSQL’s STARTTLS, beside stunnel', {
    front: 'postgres',
    unit: 'transaction',
    connections: 16,
    unitsEach: transactions,
    flags: [],
    expect: { version: 'TLSv1.3', cipher: ciphers13[0]! },
    baseline: 'stunnel',
    target: 0.9,
  }),
  asked('postgres', 'pgsql', 'PostgreSQL', ['--messages', '1', '--send', startup]),
  asked('smtp', 'smtp', 'SMTP'),
  asked('imap', 'imap', 'IMAP'),
  asked('pop3', 'pop3', 'POP3'),
  full('starttls-mssql', 'TLS 1.2 within TDS 7 (SQL Server), full handshake', {
    front: 'mssql',
    connections: 1500,
    flags: [...client12(), '--starttls', 'mssql', ...echo64],
    expect: tls12({ certificate: 'ec' }),
  }),
  full('starttls-ldap', 'plain to the peer, StartTLS of LDAP and a full TLS 1.3 handshake to the server', {
    front: 'ldap',
    connections: 1500,
    flags: ['--plain', ...echo64],
    expect: {},
    baseline: 'stunnel',
    target: 0.9,
  }),
  full('memory', 'memory per idle TLS connection', {
    unit: 'idle connection',
    connections: idle,
    flags: [...client13(), '--hold', '10m'],
    target: 40,
  }),
];

/** The size of a source, and of every bulk connection. */
export const sourceBytes = bulkMiB * 2 ** 20;

/** Finds rows by id. Throws if there is no such row. */
export function chooseWorkloads(ids: readonly string[] | undefined): readonly Workload[] {
  const unknown = ids?.find((id) => !workloads.some((workload) => workload.id === id));
  if (unknown !== undefined) {
    throw new Error(
      `there is no workload "${unknown}"; there are ${workloads.map(({ id }) => id).join(', ')}`,
    );
  }
  return ids === undefined ? workloads : workloads.filter(({ id }) => ids.includes(id));
}

/** A share of a workload's connections; never fewer than its concurrency needs. */
export function connectionsOf({ connections, concurrency, unit }: Workload, share: number): number {
  const least = unit === 'connection' ? concurrency * 4 : unit === 'idle connection' ? 200 : 2;
  return Math.max(Math.min(least, connections), Math.round(connections * share));
}

function full(id: string, title: string, different: Partial<Workload>): Workload {
  return {
    id,
    title,
    front: 'ecdsa',
    unit: 'connection',
    connections: 2000,
    concurrency: 16,
    unitsEach: 1,
    flags: [...client13(), ...echo64],
    expect: tls13({ certificate: 'ec' }),
    target: undefined,
    ...different,
  };
}

/** A connection whose client asks for TLS first. stunnel lets clients of mail wait for 0.2 s: hence so many at once. */
function asked(
  protocol: string,
  front: string,
  title: string,
  messages: readonly string[] = echo64,
): Workload {
  return full(`starttls-${protocol}`, `TLS 1.3 by ${title}’s STARTTLS, full handshake`, {
    front,
    connections: 1500,
    concurrency: 64,
    flags: [...client13(), '--starttls', protocol, ...messages],
    baseline: 'stunnel',
    target: 0.9,
  });
}

function bulk(
  id: string,
  title: string,
  front: string,
  flags: readonly string[],
  connections: number,
): Workload {
  return full(id, title, {
    front,
    unit: 'MiB',
    connections,
    concurrency: 4,
    unitsEach: bulkMiB,
    flags: [...flags, `${bulkMiB}MiB`],
    expect: flags.includes('--plain') ? {} : tls13({}),
    target: 0.9,
  });
}

function client13(groups = clientGroups.join(':')): string[] {
  return ['--tls', '1.3', '--ciphers', ciphers13.join(':'), '--groups', groups, ...verified()];
}

function client12(): string[] {
  return [
    '--tls',
    '1.2',
    '--ciphers',
    ciphers12.join(':'),
    '--groups',
    clientGroups.join(':'),
    ...verified(),
  ];
}

/** Braces stand for files of the site, which the caller fills in. */
function verified(): string[] {
  return ['--sni', serverName, '--ca', '{ca}'];
}

function tls13(more: Expectation): Expectation {
  return { version: 'TLSv1.3', cipher: ciphers13[0]!, group: 'X25519', ...more };
}

function tls12(more: Expectation): Expectation {
  return { version: 'TLSv1.2', cipher: ciphers12[0]!, ...more };
}

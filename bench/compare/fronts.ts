/** What every peer is asked to serve: the same fronts, ciphers, groups and certificates for all. */

/** The bench's upstreams; see upstreams.ts. */
export const upstreamKinds = [
  'echo',
  'sink',
  'source',
  'tls',
  'mutual_tls',
  // Of mutual TLS too, which bench:latency has in the place of the one above.
  'mutual_tls_full',
  'mutual_tls_12',
  'mutual_tls_12_full',
  // Echoes that greet first, as mail servers do, one that is asked for TLS as a directory is, and one that answers PRELOGIN.
  'smtp',
  'imap',
  'pop3',
  'ldap',
  'mssql',
] as const;
/** Besides, a PostgreSQL server; see postgres.ts. */
export type UpstreamKind = (typeof upstreamKinds)[number] | 'postgres';

export type Front = {
  readonly name: string;
  /** `originate`: clients without TLS, which begins here. */
  readonly mode: 'terminate' | 'passthrough' | 'plain' | 'originate';
  /** What it presents, where it terminates. */
  readonly key: 'ec' | 'rsa';
  readonly clientAuth: boolean;
  /** Takes X25519MLKEM768 first; all others X25519. */
  readonly postQuantum: boolean;
  /** What is spoken before TLS, on the side that has it. */
  readonly starttls: 'postgres' | 'smtp' | 'imap' | 'pop3' | 'ldap' | 'mssql' | undefined;
  readonly upstream: UpstreamKind;
};

/** All fronts. A peer that cannot serve one leaves it out. */
export const fronts: readonly Front[] = [
  front('ecdsa', {}),
  front('ecdsa_sink', { upstream: 'sink' }),
  front('ecdsa_source', { upstream: 'source' }),
  front('rsa', { key: 'rsa' }),
  front('client_auth', { clientAuth: true }),
  front('rewrap', { upstream: 'mutual_tls' }),
  front('post_quantum', { postQuantum: true }),
  front('passthrough', { mode: 'passthrough', upstream: 'tls' }),
  front('plain', { mode: 'plain' }),
  front('plain_sink', { mode: 'plain', upstream: 'sink' }),
  front('plain_source', { mode: 'plain', upstream: 'source' }),
  front('postgres', { starttls: 'postgres', upstream: 'postgres' }),
  front('pgsql', { starttls: 'postgres' }),
  front('smtp', { starttls: 'smtp', upstream: 'smtp' }),
  front('imap', { starttls: 'imap', upstream: 'imap' }),
  front('pop3', { starttls: 'pop3', upstream: 'pop3' }),
  front('mssql', { starttls: 'mssql', upstream: 'mssql' }),
  front('ldap', { starttls: 'ldap', mode: 'originate', upstream: 'ldap' }),
];

/** Those that the bare relay serves. */
export const bareFronts = fronts.filter(({ starttls }) => !starttls);

/** The name that clients ask for and that certificates have. */
export const serverName = 'bench.example.com';
/** The name of the TLS upstreams. */
export const upstreamName = 'upstream.example.com';

/** Lists for all peers and clients, in OpenSSL's names: AES-128-GCM first. */
export const ciphers13 = ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'];
export const ciphers12 = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
];

/** The groups of clients. With P-256 in it, since TLS 1.2 takes an ECDSA certificate of a listed curve only. */
export const clientGroups = ['X25519', 'P-256'];

/** The groups of a front, best first. */
export function groupsOf({ postQuantum }: Pick<Front, 'postQuantum'>): string[] {
  return postQuantum ? ['X25519MLKEM768', ...clientGroups] : clientGroups;
}

/** What a peer needs to write its configuration. */
export type Site = {
  /** Its own directory: configurations and logs go there. */
  readonly directory: string;
  /** The loopback address that is its own: it listens there. */
  readonly address: string;
  /** Where its upstreams are: the same address, on other ports, or far away. */
  readonly upstreamAddress: string;
  /** The ports of the fronts, by name; the same for all peers. */
  readonly ports: Readonly<Record<string, number>>;
  readonly upstreamPorts: Readonly<Record<UpstreamKind, number>>;
  readonly files: SiteFiles;
};

/** PEM files. A `pem` is certificate and key in one. */
export type SiteFiles = {
  readonly ca: string;
  readonly ec: CredentialFiles;
  readonly rsa: CredentialFiles;
  readonly client: CredentialFiles;
  readonly upstream: CredentialFiles;
};

export type CredentialFiles = { readonly cert: string; readonly key: string; readonly pem: string };

/** A program to start for a peer. */
export type Launch = {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where its output goes. */
  readonly output: string;
};

/** How a peer was started, and what is to be known of it. */
export type Prepared = {
  readonly launches: readonly Launch[];
  readonly served: readonly Front[];
  /** Where it logs connections. */
  readonly logFile: string;
  /** What it logs, in words. */
  readonly logs: string;
  /** It has a thread for each connection, so only the kernel's sum for the whole process (10 ms steps) is complete. */
  readonly threadsEnd?: boolean;
  /** It knows nothing of PostgreSQL's way to TLS: on that front it takes plain clients. */
  readonly plainPostgres?: boolean;
  /** Where it serves a front on another port than the site has for it. */
  readonly ports?: Readonly<Record<string, number>>;
};

function front(name: string, different: Partial<Front>): Front {
  const usual: Front = {
    name,
    mode: 'terminate',
    key: 'ec',
    clientAuth: false,
    postQuantum: false,
    starttls: undefined,
    upstream: 'echo',
  };
  return { ...usual, ...different };
}

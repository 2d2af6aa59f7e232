/** What is fuzzed: a parser, with all that must hold of it whatever it is given. */

export type Target = {
  readonly name: string;
  /** Inputs to start from. */
  readonly seeds: () => readonly Buffer[] | Promise<readonly Buffer[]>;
  /** Words of the format, to be put in. */
  readonly tokens: readonly Buffer[];
  readonly maxLength: number;
  /** Makes lengths and sums agree again, so that changes get past them. Done to half of the inputs. */
  readonly repair?: (bytes: Buffer) => Buffer;
  /** Throws when something does not hold. Errors that the parser is meant to throw are not among that. */
  readonly check: (bytes: Buffer) => void | Promise<void>;
};

/** By name; the module of each is imported only where it is fuzzed, so that coverage is its own. */
export const targets: Readonly<Record<string, () => Promise<{ readonly target: Target }>>> = {
  'client-hello': () => import('./targets/client-hello.ts'),
  'proxy-header': () => import('./targets/proxy-header.ts'),
  'postgres-client': () => import('./targets/postgres-client.ts'),
  opening: () => import('./targets/opening.ts'),
  mysql: () => import('./targets/mysql.ts'),
  nats: () => import('./targets/nats.ts'),
  lines: () => import('./targets/lines.ts'),
  ldap: () => import('./targets/ldap.ts'),
  xmpp: () => import('./targets/xmpp.ts'),
  mssql: () => import('./targets/mssql.ts'),
  'postgres-server': () => import('./targets/postgres-server.ts'),
  certificate: () => import('./targets/certificate.ts'),
  staple: () => import('./targets/staple.ts'),
  crl: () => import('./targets/crl.ts'),
  configuration: () => import('./targets/configuration.ts'),
  'server-flight': () => import('./targets/server-flight.ts'),
  'server-certificate': () => import('./targets/server-certificate.ts'),
  'admin-request': () => import('./targets/admin-request.ts'),
  'log-line': () => import('./targets/log-line.ts'),
  capture: () => import('./targets/capture.ts'),
  import: () => import('./targets/import.ts'),
};

/** The same, of parsers that are wrong. Fuzzed only when they are named. */
export const selfTests: typeof targets = {
  'self-test-throw': async () => (await import('./targets/self-test.ts')).throwing,
  'self-test-hang': async () => (await import('./targets/self-test.ts')).hanging,
};

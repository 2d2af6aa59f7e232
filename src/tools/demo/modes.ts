/** The modes: what each shows, the first connections through it, and commands to paste. */
import {
  type Check,
  explained,
  judge,
  refused,
  refusedByUpstream,
  type Surroundings,
  welcomed,
} from './checks.ts';
import { type Attempt, logInPlainly, query, sayHello } from './client.ts';
import type { Listeners } from './config.ts';
import { mysqlMode } from './mysql.ts';
import type { Upstreams } from './upstreams.ts';

export type Mode = {
  readonly listener: keyof Listeners;
  readonly title: string;
  readonly what: string;
  readonly check: (around: Surroundings) => Promise<Check[]>;
  /** A shell command; its files are in `directory`. */
  readonly command: (around: Surroundings, directory: string) => string;
  readonly shows: string;
  /** The same by a client that is refused. */
  readonly refusal?: Pick<Mode, 'command' | 'shows'>;
};

/** Those that are shown, in this order. */
export function modesOf({ mysql }: Upstreams): readonly Mode[] {
  return mysql ? [...modes, mysqlMode(mysql)] : modes;
}

const modes: readonly Mode[] = [
  {
    listener: 'terminate',
    title: 'Terminate',
    what: 'TLS ends at penstock. The upstream speaks plain TCP, and learns from a PROXY\nheader who the client is.',
    check: async (around) => [
      ...(await welcomed(
        around,
        echo(around, 'terminate'),
        'CN=echo.demo.test',
        'here for echo.demo.test over TLSv1',
      )),
      await refused(
        around,
        'a name without a route',
        { ...echo(around, 'terminate'), name: 'x.demo.test' },
        'ERR_NO_ROUTE',
      ),
    ],
    command: ({ listeners }, directory) =>
      openssl(listeners.terminate, 'echo.demo.test', `${directory}/ca.crt`),
    shows: 'the chain, verified (`verify return:1`), then what the upstream knows.',
  },
  {
    listener: 'mutual_tls',
    title: 'Mutual TLS by PKI',
    what: 'Clients need a certificate of our CA, and `allow` says whose: CN alice.',
    check: async (around) => {
      const attempt = echo(around, 'mutual_tls');
      const { alice, bob } = around.pki;
      return [
        ...(await welcomed(
          around,
          { ...attempt, credential: alice },
          'CN=echo.demo.test',
          'CN=alice, verified',
        )),
        await refused(around, 'no certificate', attempt, 'ERR_CLIENT_CERT_REQUIRED'),
        await refused(
          around,
          'bob, of the same CA',
          { ...attempt, credential: bob },
          'ERR_CLIENT_CERT_NOT_ALLOWED',
        ),
      ];
    },
    command: ({ listeners }, directory) =>
      openssl(listeners.mutual_tls, 'echo.demo.test', `${directory}/ca.crt`, `${directory}/alice`),
    shows: 'that the upstream is told of CN=alice.',
    refusal: {
      command: ({ listeners }, directory) =>
        openssl(listeners.mutual_tls, 'echo.demo.test', `${directory}/ca.crt`, `${directory}/bob`),
      shows:
        '`alert access denied`: bob is of the same CA, but not in `allow`.\nWithout -cert and -key: `alert certificate required`.',
    },
  },
  {
    listener: 'pinned',
    title: 'Mutual TLS by pin',
    what: 'No CA: the client signed its certificate itself, and is known by its key.',
    check: async (around) => {
      const attempt = echo(around, 'pinned');
      const { sensor, stranger } = around.pki;
      return [
        ...(await welcomed(
          around,
          { ...attempt, credential: sensor },
          'CN=echo.demo.test',
          'its key is pinned',
        )),
        await refused(around, 'no certificate', attempt, 'ERR_CLIENT_CERT_REQUIRED'),
        await refused(
          around,
          'the same name, another key',
          { ...attempt, credential: stranger },
          'ERR_CLIENT_CERT_NOT_PINNED',
        ),
      ];
    },
    command: ({ listeners }, directory) =>
      openssl(listeners.pinned, 'echo.demo.test', `${directory}/ca.crt`, `${directory}/sensor`),
    shows: 'the greeting. With stranger.crt and stranger.key, which claim the same\nname: refused.',
  },
  {
    listener: 'passthrough',
    title: 'Passthrough',
    what: 'penstock reads the server name in the ClientHello, and leaves the TLS to the\nupstream: its certificate, its key, nothing decrypted on the way.',
    check: async (around) => {
      const attempt = {
        port: around.listeners.passthrough,
        name: 'secure.demo.test',
        ca: around.pki['internal-ca'].cert,
      };
      return [
        ...(await welcomed(around, attempt, 'CN=secure.demo.test', 'between you and me')),
        await refused(around, 'a name without a route', { ...attempt, name: 'x.demo.test' }, 'ERR_NO_ROUTE'),
      ];
    },
    command: ({ listeners }, directory) =>
      openssl(listeners.passthrough, 'secure.demo.test', `${directory}/internal-ca.crt`),
    shows: 'the certificate of the upstream, signed by a CA of its own.',
  },
  {
    listener: 'rewrap',
    title: 'Re-wrap to mutual TLS',
    what: 'TLS in, mutual TLS out: penstock verifies the upstream, and shows it a\ncertificate that clients do not need to have.',
    check: async (around) => {
      const { pki, listeners, upstreams } = around;
      const attempt = { port: listeners.rewrap, name: 'vault.demo.test', ca: pki.ca.cert };
      const direct = { port: upstreams.vault, name: 'vault.internal', ca: pki['internal-ca'].cert };
      return [
        ...(await welcomed(around, attempt, 'CN=vault.demo.test', 'penstock showed CN=penstock')),
        refusedByUpstream(await sayHello(direct), 'around penstock, without that certificate'),
      ];
    },
    command: ({ listeners }, directory) =>
      openssl(listeners.rewrap, 'vault.demo.test', `${directory}/ca.crt`),
    shows: 'whom the upstream takes you for: CN=penstock.',
  },
  {
    listener: 'postgres',
    title: 'PostgreSQL',
    what: 'psql asks for TLS in the way of its protocol, and penstock answers. The\nserver behind, a toy here, knows nothing of TLS.',
    check: async (around) => {
      const attempt = { port: around.listeners.postgres, name: 'db.demo.test', ca: around.pki.ca.cert };
      const plain = await logInPlainly(attempt.port);
      return [
        ...(await judge(
          around,
          await query(attempt, 'select 1'),
          'CN=db.demo.test',
          'toy database | demo | select 1',
        )),
        await explained(around, 'plain text', plain, 'TLS connections only', 'ERR_STARTTLS_REQUIRED'),
      ];
    },
    command: ({ listeners }, directory) =>
      `psql "host=localhost port=${listeners.postgres} user=demo dbname=demo \\\n` +
      `  sslmode=verify-full sslrootcert=${directory}/ca.crt" -c 'select 1'`,
    shows: 'a row. With sslmode=disable: an error that says what to do.',
  },
];

function echo({ listeners, pki }: Surroundings, listener: keyof Listeners): Attempt {
  return { port: listeners[listener], name: 'echo.demo.test', ca: pki.ca.cert };
}

/**
 * -quiet also keeps the connection open after the end of the input, until the upstream closes.
 */
function openssl(port: number, name: string, ca: string, client?: string): string {
  const lines = [
    `echo hello | openssl s_client -quiet -connect 127.0.0.1:${port}`,
    `-servername ${name} -CAfile ${ca}`,
    ...(client === undefined ? [] : [`-cert ${client}.crt -key ${client}.key`]),
  ];
  return lines.join(' \\\n  ');
}

/** TLS stacks that are not ours, each with a small client in clients/: how it is made, and what it cannot do. */
import { join } from 'node:path';
import { launch, type Running, run } from './process.ts';

/** What a client is put to. */
export const cases = [
  'full',
  'resumed',
  'certificate',
  'stranger',
  'nobody',
  'retry',
  'key update',
  'reset',
] as const;
export type Case = (typeof cases)[number];
export const versions = ['1.2', '1.3'] as const;
export type Version = (typeof versions)[number];

export type Stack = {
  readonly name: string;
  /** The Debian package whose version is that of the stack. */
  readonly debian: string;
  /** Makes the client in this directory. */
  readonly make: (directory: string) => Promise<void>;
  /** The client, once it is made. */
  readonly command: (directory: string) => readonly string[];
  readonly cannot: Readonly<Partial<Record<Case, string>>>;
  /** Versions that it does not have. */
  readonly lacks?: Readonly<Partial<Record<Version, string>>>;
  /** What its client takes for a CA or a certificate, where that is no PEM file. */
  readonly files?: 'pkcs12' | 'nss';
};

const sources = join(import.meta.dirname, 'clients');

export const stacks: readonly Stack[] = [
  inC('OpenSSL', 'libssl3', 'openssl', ['-lssl', '-lcrypto']),
  {
    name: 'Python',
    debian: 'python3',
    make: async () => {},
    command: () => ['python3', join(sources, 'client.py')],
    cannot: { 'key update': 'its ssl has no call for it' },
  },
  inC('GnuTLS', 'libgnutls30', 'gnutls', ['-lgnutls']),
  {
    ...inC('NSS', 'libnss3', 'nss', [
      ...['-I/usr/include/nss', '-I/usr/include/nspr'],
      ...['-lnss3', '-lssl3', '-lnspr4'],
    ]),
    files: 'nss',
  },
  {
    ...inC('Mbed TLS', 'libmbedtls14', 'mbedtls', ['-lmbedtls', '-lmbedx509', '-lmbedcrypto']),
    lacks: { '1.3': 'not in 2.28' },
  },
  inC('wolfSSL', 'libwolfssl35', 'wolfssl', ['-lwolfssl']),
  {
    name: 'Java',
    debian: 'openjdk-17-jre-headless',
    make: (directory) => make('javac', ['-d', directory, join(sources, 'Client.java')]),
    command: (directory) => ['java', '-Xshare:auto', '-XX:TieredStopAtLevel=1', '-cp', directory, 'Client'],
    cannot: {},
    files: 'pkcs12',
  },
  {
    name: 'Go',
    debian: 'golang-go',
    make: (directory) =>
      make('go', ['build', '-o', join(directory, 'go'), join(sources, 'client.go')], {
        GOCACHE: join(directory, 'go-cache'),
        GOFLAGS: '-mod=mod',
        GOPATH: directory,
      }),
    command: (directory) => [join(directory, 'go')],
    cannot: { 'key update': 'crypto/tls never begins one' },
  },
  {
    name: 'Erlang',
    debian: 'erlang-ssl',
    make: async () => {},
    command: () => ['escript', join(sources, 'client.escript')],
    cannot: {},
  },
];

/** Starts the client of a stack with these words. */
export function runClient(
  stack: Stack,
  directory: string,
  words: Readonly<Record<string, string | number>>,
): Running {
  const [program = '', ...args] = stack.command(directory);
  const given = Object.entries(words).map(([word, value]) => `${word}=${value}`);
  return launch(program, [...args, ...given], { env: { HOME: directory } });
}

/** The version that is installed, without what Debian puts behind it. */
export async function versionOf({ debian }: Stack): Promise<string> {
  const { stdout } = await run('dpkg-query', ['--status', debian]);
  const version = /^Version: (?:\d+:)?(.*)$/m.exec(stdout)?.[1] ?? '?';
  return version.replace(/[-+~].*/, '');
}

function inC(name: string, debian: string, source: string, flags: readonly string[]): Stack {
  return {
    name,
    debian,
    make: (directory) => make('gcc', ['-o', join(directory, source), join(sources, `${source}.c`), ...flags]),
    command: (directory) => [join(directory, source)],
    cannot: {},
  };
}

async function make(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { code, stderr } = await run(program, args, { env });
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}:\n${stderr}`);
}

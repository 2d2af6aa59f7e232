/** TLS stacks that are not ours, as clients: each makes connections one after the other and says how each of them went. */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { run } from '../process.ts';

/** What a client trusts and presents: paths of PEM files, the key in PKCS #8, and a directory of its own. */
export type Identity = {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  readonly directory: string;
};

/** `count` connections, which resume where they can; a silent client waits for the server to end. */
export type Attempt = {
  readonly port: number;
  readonly name: string;
  readonly mode: 'speaks' | 'is-silent';
  readonly count: number;
};

/** What the client printed of each attempt. Their names differ. */
export type Stack = (identity: Identity, attempts: readonly Attempt[]) => Promise<string[]>;

const here = import.meta.dirname;

async function openssl({ ca, cert, key, directory }: Identity, attempt: Attempt): Promise<string> {
  const session = join(directory, `${attempt.name}.session`);
  const args = ['s_client', '-connect', `127.0.0.1:${attempt.port}`, '-servername', attempt.name, '-tls1_3'];
  args.push('-CAfile', ca, '-cert', cert, '-key', key, '-quiet', '-no_ign_eof', '-sess_out', session);
  let said = '';
  for (let n = 0; n < attempt.count; n += 1) {
    // Where no ticket came, there is no file.
    const resume = n > 0 && existsSync(session) ? ['-sess_in', session] : [];
    said += await print('openssl', [...args, ...resume], attempt);
  }
  return said;
}

function gnutls({ ca, cert, key }: Identity, attempt: Attempt): Promise<string> {
  const args = [
    '-p',
    String(attempt.port),
    '--sni-hostname',
    attempt.name,
    '--verify-hostname',
    attempt.name,
  ];
  args.push('--x509cafile', ca, '--x509certfile', cert, '--x509keyfile', key);
  args.push('--priority', 'NORMAL:-VERS-ALL:+VERS-TLS1.3');
  return print('gnutls-cli', [...args, ...(attempt.count > 1 ? ['--resume'] : []), '127.0.0.1'], attempt);
}

async function nss(identity: Identity, attempt: Attempt): Promise<string> {
  const database = await nssDatabase(identity);
  const request = join(identity.directory, 'ping');
  writeFileSync(request, 'ping');
  const args = ['-h', '127.0.0.1', '-p', String(attempt.port), '-a', attempt.name, '-d', `sql:${database}`];
  args.push('-n', 'own', '-V', 'tls1.3:tls1.3', '-u', '-v', '-L', String(attempt.count), '-A', request);
  return print('tstclnt', args, attempt);
}

async function nssDatabase({ ca, cert, key, directory }: Identity): Promise<string> {
  const database = join(directory, `nss-${basename(cert)}`);
  // certutil would ask for the password of one that is there, again and again.
  if (existsSync(database)) return database;
  mkdirSync(database);
  const bundle = join(database, 'own.p12');
  const from = ['-inkey', key, '-in', cert, '-name', 'own', '-passout', 'pass:'];
  await run('certutil', ['-N', '-d', `sql:${database}`, '--empty-password']);
  await run('certutil', ['-A', '-d', `sql:${database}`, '-n', 'servers', '-t', 'C,,', '-i', ca]);
  await run('openssl', ['pkcs12', '-export', ...from, '-out', bundle]);
  await run('pk12util', ['-i', bundle, '-d', `sql:${database}`, '-W', '']);
  return database;
}

/** Those that are written for these tests make all attempts in one go; their lines begin with the name. */
async function oneProcess(
  command: string,
  args: readonly string[],
  { ca, cert, key }: Identity,
  attempts: readonly Attempt[],
): Promise<string[]> {
  const words = attempts.flatMap(({ port, name, mode, count }) => [String(port), name, mode, String(count)]);
  const { stdout, stderr } = await run(command, [...args, ca, cert, key, ...words]);
  const lines = stdout.split('\n');
  return attempts.map(({ name }) => lines.filter((line) => line.startsWith(`${name} `)).join('\n') || stderr);
}

const java: Stack = async (identity, attempts) => {
  const classes = join(identity.directory, 'classes');
  if (!existsSync(classes)) await run('javac', ['-d', classes, join(here, 'Client.java')]);
  return oneProcess('java', ['-cp', classes, 'Client'], identity, attempts);
};

const python: Stack = (identity, attempts) =>
  oneProcess('python3', [join(here, 'client.py')], identity, attempts);

const go: Stack = async (identity, attempts) => {
  const binary = join(identity.directory, 'go-client');
  const cache = join(tmpdir(), 'penstock-go-cache');
  const env = { GOCACHE: cache, GOPATH: cache, GO111MODULE: 'off' };
  if (!existsSync(binary)) await run('go', ['build', '-o', binary, join(here, 'client.go')], { env });
  return oneProcess(binary, [], identity, attempts);
};

async function print(command: string, args: readonly string[], { mode }: Attempt): Promise<string> {
  const input = mode === 'speaks' ? 'ping' : '';
  const { stdout, stderr } = await run(command, args, { input, moreInput: true });
  return stdout + stderr;
}

function inTurns(one: (identity: Identity, attempt: Attempt) => Promise<string>): Stack {
  return async (identity, attempts) => {
    const said: string[] = [];
    for (const attempt of attempts) said.push(await one(identity, attempt));
    return said;
  };
}

export const stacks: Readonly<Record<string, Stack>> = {
  openssl: inTurns(openssl),
  gnutls: inTurns(gnutls),
  nss: inTurns(nss),
  java,
  go,
  python,
};

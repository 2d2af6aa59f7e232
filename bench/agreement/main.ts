/**
 * Whether `penstock load` counts as others do: its rates beside those of `openssl s_time` and `wrk`, of the same peers, in
 * turns. `npm run bench:agreement -- [--seconds 10] [--rounds 3]`; writes bench/results/agreement.md.
 */
import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { type CredentialFiles, serverName } from '../compare/fronts.ts';
import { checkout, findPeer, ownNode, type Peer, parsePeer } from '../compare/peers.ts';
import { pinned } from '../compare/processes.ts';
import { type Ground, prepareGround, type RunningPeer, startPeer, stopPeer } from '../compare/site.ts';
import { median } from '../compare/statistics.ts';

type Tool = (target: string) => Promise<number>;
type Comparison = {
  readonly what: string;
  readonly other: string;
  readonly theirs: Tool;
  readonly ours: Tool;
};
type Row = {
  readonly peer: string;
  readonly what: string;
  readonly other: string;
  readonly theirs: readonly number[];
  readonly ours: readonly number[];
};

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '10' }, rounds: { type: 'string', default: '3' } },
});
const { seconds, rounds } = values;
const cores = cpus().length > 1 ? { peers: 0, load: 1 } : { peers: undefined, load: undefined };
const clients = 8;
/** With them a request takes so long that no tool is at its limit. */
const answerMs = { open: 5, close: 25 };

const comparisons: readonly Comparison[] = [
  {
    what: 'full handshakes, TLS 1.3, RSA-4096',
    other: `openssl s_time -new, ${clients} of it`,
    async theirs(target) {
      const rates = await Promise.all(Array.from({ length: clients }, () => sTime(target)));
      return rates.reduce((sum, rate) => sum + rate, 0);
    },
    ours: (target) => load(target, 'handshakes', ['--tls', '1.3', '--size', '0']),
  },
  {
    // wrk uses a ticket of TLS 1.3 once, so what it resumes would be up to the peer's giving new ones.
    what: 'HTTP requests, a connection each, resumed TLS 1.2',
    other: 'wrk with Connection: close',
    theirs: (target) => wrk(target, ['-H', 'Connection: close'], { OPENSSL_CONF: onlyTls12() }),
    ours(target) {
      const asked = ['--send', request('Connection: close'), '--until-close'];
      return load(target, 'messages', ['--tls', '1.2', '--resume', ...asked]);
    },
  },
  {
    what: 'HTTP requests on open connections',
    other: 'wrk',
    theirs: (target) => wrk(target, []),
    ours(target) {
      const answered = ['--messages', '1000000', '--expect-bytes', String(answer().length)];
      return load(target, 'messages', ['--send', request(), ...answered]);
    },
  },
];

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
const peers = ['haproxy', 'nginx', 'penstock?sni=any'].map((text) => findPeer(parsePeer(text)));
const ground = await onOurGround(
  await prepareGround(
    peers.map(({ name }) => name),
    cores,
  ),
);
const rows: Row[] = [];
for (const peer of peers) {
  const running = await startPeer(peer, ground);
  for (const comparison of comparisons) rows.push(await compare(running, comparison));
  await stopPeer(running);
}
writeReport(rows, peers);
process.exit();

/** The same ground, with a key of RSA-4096, which makes the peer the slowest part, and an HTTP server as upstream. */
async function onOurGround(made: Ground): Promise<Ground> {
  const port = await startServer();
  const rsa = slowPair(made.directory);
  const sites = [...made.sites].map(([name, site]) => {
    const upstreamPorts = { ...site.upstreamPorts, echo: port };
    return [name, { ...site, upstreamPorts, files: { ...site.files, rsa } }] as const;
  });
  return { ...made, sites: new Map(sites) };
}

async function startServer(): Promise<number> {
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (asked) => {
      const closes = asked.includes('Connection: close');
      setTimeout(
        () => {
          if (!socket.writable) return;
          if (closes) socket.end(answer('Connection: close'));
          else socket.write(answer());
        },
        answerMs[closes ? 'close' : 'open'],
      );
    });
  });
  await once(server.listen(0, '0.0.0.0'), 'listening');
  return (server.address() as AddressInfo).port;
}

function slowPair(directory: string): CredentialFiles {
  const base = join(directory, 'rsa-4096');
  const files = { cert: `${base}.crt`, key: `${base}.key`, pem: `${base}.pem` };
  const subject = ['-subj', `/CN=${serverName}`, '-addext', `subjectAltName=DNS:${serverName}`, '-days', '2'];
  const asked = ['req', '-x509', '-newkey', 'rsa:4096', '-nodes', '-keyout', files.key, '-out', files.cert];
  execFileSync('openssl', [...asked, ...subject], { stdio: 'ignore' });
  writeFileSync(files.pem, readFileSync(files.key, 'utf8') + readFileSync(files.cert, 'utf8'), {
    mode: 0o600,
  });
  return files;
}

async function compare({ peer, site }: RunningPeer, { what, other, theirs, ours }: Comparison): Promise<Row> {
  const target = `${site.address}:${site.ports['rsa']}`;
  const row = { peer: peer.name, what, other, theirs: [] as number[], ours: [] as number[] };
  // The first pair only warms up.
  for (let round = 0; round <= Number(rounds); round++) {
    const pair = [await theirs(target), await ours(target)] as const;
    process.stderr.write(
      `${peer.name}, ${what}: ${pair.map((rate) => rate.toFixed(0)).join(' and ')} a second\n`,
    );
    if (round === 0) continue;
    row.theirs.push(pair[0]);
    row.ours.push(pair[1]);
  }
  return row;
}

/** Its own seconds are whole ones, so the time is ours. */
async function sTime(target: string): Promise<number> {
  const startedAt = performance.now();
  const output = await run('openssl', ['s_time', '-connect', target, '-new', '-tls1_3', '-time', seconds]);
  const elapsed = (performance.now() - startedAt) / 1000;
  const [, count] = /^(\d+) connections in \d+ real seconds/m.exec(output) ?? [];
  if (count === undefined) throw new Error(`openssl s_time: ${output}`);
  return Number(count) / elapsed;
}

async function wrk(target: string, flags: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<number> {
  const many = ['-t', '1', '-c', String(clients), '-d', `${seconds}s`];
  const output = await run('wrk', [...many, ...flags, `https://${target}/`], env);
  const [, rate] = /^Requests\/sec:\s+([\d.]+)/m.exec(output) ?? [];
  if (rate === undefined || /Non-2xx|Socket errors: .*[1-9]/.test(output)) throw new Error(`wrk: ${output}`);
  return Number(rate);
}

async function load(
  target: string,
  unit: 'handshakes' | 'messages',
  flags: readonly string[],
): Promise<number> {
  const program = join(checkout, 'src/main.ts');
  const many = ['-c', String(clients), '--duration', `${seconds}s`, '--json', '--no-progress'];
  const output = await run(ownNode(), ['--disable-sigusr1', program, 'load', target, ...many, ...flags]);
  const report = JSON.parse(output) as Record<`${typeof unit}_per_s`, number> & { errors: { total: number } };
  if (report.errors.total > 0) throw new Error(`load: ${output}`);
  return report[`${unit}_per_s`];
}

async function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const [command, ...rest] = pinned([program, ...args], cores.load);
  const { stdout } = await promisify(execFile)(command!, rest, { env: { ...process.env, ...env } });
  return stdout;
}

/** The file of OpenSSL's configuration that says so: wrk has no flag for it. */
function onlyTls12(): string {
  const file = join(ground.directory, 'openssl.cnf');
  const lines = ['openssl_conf = top', '[top]', 'ssl_conf = ssl', '[ssl]', 'system_default = tls', '[tls]'];
  writeFileSync(file, [...lines, 'MaxProtocol = TLSv1.2', ''].join('\n'));
  return file;
}

/** As `--send` wants it. */
function request(...headers: string[]): string {
  return ['GET / HTTP/1.1', 'Host: bench', ...headers, '', ''].join('\\r\\n');
}

function answer(...headers: string[]): string {
  return ['HTTP/1.1 200 OK', 'Content-Length: 200', ...headers, '', 'x'.repeat(200)].join('\r\n');
}

function writeReport(measured: readonly Row[], asked: readonly Peer[]): void {
  const versions = asked.map(({ name, version, library }) => `${name} ${version} (${library})`).join(', ');
  const lines = measured.map(({ peer, what, other, theirs, ours }) => {
    const ratio = median(ours.map((rate, round) => rate / theirs[round]!));
    return `| ${peer} | ${what} | ${median(theirs).toFixed(0)} | ${median(ours).toFixed(0)} | ${ratio.toFixed(2)} | ${other} |`;
  });
  const text = `# Rates that \`penstock load\` and others count

Of the same peer in turns, ${clients} connections at a time, ${rounds} rounds of ${seconds} s, a second; the ratio is the median of the rounds' ratios.
${versions}.

| of | what | other tool | penstock load | ratio | the other tool is |
| --- | --- | --- | --- | --- | --- |
${lines.join('\n')}
`;
  const directory = join(checkout, 'bench/results');
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'agreement.md'), text);
  process.stdout.write(text);
}

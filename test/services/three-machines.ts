/**
 * What `three-machines-serve-as-one` does beside three machines: it runs as the command of
 * deploy/cluster/three-machines, in the namespace of clients. Prints a line for each promise that was kept.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { launch, run } from './process.ts';

const {
  MACHINES: directory = '',
  MACHINES_NET: net = '',
  PENSTOCK_OUTAGE_SECONDS: seconds = '10',
} = process.env;
const machines = [1, 2, 3] as const;
type Machine = (typeof machines)[number];
const name = 'orders.db.example.com';
const authority = join(directory, 'pki/ca.crt');
const canCut = !net.startsWith('127.');

/** The commands in deploy/cluster/bin, on the path. */
async function command(...[program = '', ...args]: readonly string[]): Promise<string> {
  const env = Object.fromEntries(Object.entries(process.env).map(([key, value]) => [key, value ?? '']));
  const { code, stdout, stderr } = await run(program, args, { env, cwd: directory });
  assert.equal(code, 0, `${program} ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

type View = { connected: boolean; source: string; tickets: { generation: number } | null };

async function statusOf(machine: Machine): Promise<{ ready: boolean; cluster: View }> {
  const socketPath = join(directory, `admin-${machine}.sock`);
  return new Promise((resolve, reject) => {
    request({ socketPath, path: '/status', host: 'localhost' }, async (response) => {
      let body = '';
      for await (const chunk of response) body += chunk;
      resolve(JSON.parse(body));
    })
      .on('error', reject)
      .end();
  });
}

async function each(check: (machine: Machine) => Promise<void>): Promise<void> {
  await Promise.all(machines.map((machine) => eventually(() => check(machine), 30_000)));
}

/** OpenSSL's own client; resolves with what it says of the handshake, after an answer from the upstream. */
async function sClient(machine: Machine, ...args: readonly string[]): Promise<string> {
  const at = ['-connect', `${net}.${machine}:5432`, '-servername', name, '-CAfile', authority];
  const client = launch('openssl', ['s_client', '-verify_return_error', ...at, ...args], {
    input: 'ping\n',
    moreInput: true,
  });
  // The ticket comes ahead of the answer.
  await eventually(() => assert.match(client.stdout(), /^ping$/m), 20_000);
  client.child.stdin?.end();
  return (await client.finished).stdout;
}

/** `New, TLSv1.3` or `Reused, TLSv1.3`. */
function handshakeIn(said: string): string | undefined {
  return /^(?:New|Reused), TLSv[\d.]+/m.exec(said)?.[0];
}

const fileOf = (machine: Machine) => join(directory, `session-${machine}.pem`);

/** On each machine a session that no other has seen. */
async function makeSessions(): Promise<void> {
  for (const machine of machines) {
    assert.equal(handshakeIn(await sClient(machine, '-sess_out', fileOf(machine))), 'New, TLSv1.3');
  }
}

async function resumeEverywhere(when: string): Promise<void> {
  for (const from of machines) {
    for (const to of machines) {
      const said = await sClient(to, '-sess_in', fileOf(from));
      assert.equal(handshakeIn(said), 'Reused, TLSv1.3', `${when}: of ${from} on ${to}`);
    }
  }
}

const generationOf = async (machine: Machine) => (await statusOf(machine)).cluster.tickets?.generation ?? 0;

/** Before, at and after each of six rotations; one machine misses the third. */
async function sessionsResume(): Promise<void> {
  await each(async (machine) => assert.ok((await generationOf(machine)) > 0));
  await makeSessions();
  await resumeEverywhere('before');
  for (let rotation = 1; rotation <= 6; rotation++) {
    const misses = canCut && rotation === 3;
    if (misses) await command('isolate', '3');
    const before = await generationOf(1);
    await command('penstock', 'cluster', 'rotate-tickets', '-c', 'author.yaml');
    await resumeEverywhere(`at rotation ${rotation}`);
    await each(async (machine) => {
      const isBehind = misses && machine === 3;
      assert.equal(await generationOf(machine), isBehind ? before : before + 1);
    });
    await resumeEverywhere(`after rotation ${rotation}, made before it`);
    await makeSessions();
    await resumeEverywhere(`after rotation ${rotation}`);
    if (!misses) continue;
    await command('rejoin', '3');
    await each(async (machine) => assert.equal(await generationOf(machine), before + 1));
    // What it issued meanwhile lasts until the next rotation only.
    await makeSessions();
  }
  const partition = canCut ? ', one of which a machine missed' : '';
  process.stdout.write(`sessions of each machine resume on each, over six rotations${partition}\n`);
}

/** Full handshakes with a machine, one after another, until `isOver`. */
async function load(machine: Machine, isOver: () => boolean): Promise<number> {
  const ca = readFileSync(authority);
  let count = 0;
  while (!isOver()) {
    const talk = await tlsTalk(5432, { host: `${net}.${machine}`, servername: name, ca });
    assert.equal(talk.text, 'ping', `machine ${machine}: ${talk.error}`);
    assert.ok(talk.authorized);
    count += 1;
    await sleep(2);
  }
  return count;
}

/** All members of etcd are stopped while clients come; a penstock is restarted meanwhile. */
async function etcdGoes(): Promise<void> {
  for (const machine of machines) await command('stop', 'etcd', `${machine}`);
  const begun = performance.now();
  let until = begun + Number(seconds) * 1000;
  const isOver = () => performance.now() >= until;
  const first = Promise.all([load(1, isOver), load(2, isOver)]);
  first.catch(() => {});
  await each(async (machine) => assert.equal((await statusOf(machine)).cluster.connected, false));
  await command('stop', 'penstock', '3');
  await command('start', 'penstock', '3');
  assert.equal((await statusOf(3)).cluster.source, 'snapshot');
  const [one, two] = [fileOf(1), fileOf(2)];
  for (const file of [one, two])
    assert.equal(handshakeIn(await sClient(3, '-sess_in', file)), 'Reused, TLSv1.3');
  // A busy computer may have taken all that time to restart it.
  until = Math.max(until, performance.now() + 1000);
  const three = await load(3, isOver);
  const counts = [...(await first), three];
  assert.ok(three > 0);
  for (const machine of machines) assert.equal((await statusOf(machine)).ready, true);
  const lasted = Math.round((performance.now() - begun) / 1000);
  process.stdout.write(`without etcd for ${lasted} s: ${counts.join(' + ')} handshakes, none failed\n`);
  for (const machine of machines) await command('start', 'etcd', `${machine}`, '--no-wait');
  await each(async (machine) => assert.equal((await statusOf(machine)).cluster.connected, true));
  await command(
    'penstock',
    'cluster',
    'apply',
    'shared.yaml',
    '-c',
    'author.yaml',
    '--wait',
    '--timeout',
    '30',
  );
  process.stdout.write('etcd is back, and all three follow it\n');
}

await sessionsResume();
await etcdGoes();

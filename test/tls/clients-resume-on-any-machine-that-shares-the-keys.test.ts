/**
 * With `session_tickets.keys` clients resume at every penstock that has the secrets, and at none that has others; a new
 * secret comes by a reload, without a full handshake where it was accepted before. The file is read strictly, and is
 * never repeated in what is said of it.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { loadConfig } from '../../src/config/sources/file.ts';
import { createLogger } from '../../src/observe/log.ts';
import { startWorker } from '../../src/worker/standalone.ts';
import { createAuthority, temporaryDirectory, writeFiles } from '../support/certificates.ts';
import { type ClientOptions, echoUpstream, tlsTalk } from '../support/clients.ts';
import { load } from '../support/configuration.ts';
import { ocspResponse } from '../support/ocsp.ts';
import { startPenstock } from '../support/penstock.ts';
import { sceneConfig, serverAuthority, serverCredential } from '../support/terminating.ts';

const authority = await createAuthority({ name: 'Clients' });
const credential = await authority.issue({ cn: 'client' });

/** A machine with this text in its file of secrets. */
async function startMachine(t: TestContext, secrets: string) {
  const upstream = await echoUpstream(t);
  const scene = {
    listeners: {
      one: [{ sni: 'open.example' }, { sni: 'mutual.example', tls: { client_auth: { authority: 'ca' } } }],
    },
    authorities: { ca: { ca: authority.cert } },
  };
  const { config, files } = sceneConfig(scene, upstream.port);
  const directory = temporaryDirectory(t);
  const listeners = { one: { bind: '127.0.0.1:0', ...config.listeners['one'] } };
  const text = stringify({ ...config, listeners, session_tickets: { keys: 'tickets' } });
  writeFiles(directory, { ...files, 'penstock.yaml': text, tickets: secrets });
  const read = () => loadConfig(`${directory}/penstock.yaml`);
  const served = await startWorker(await read(), createLogger('silent', process.stdout));
  t.after(() => served.drain(0));
  return {
    port: served.bound.get('one')?.[0]?.port ?? 0,
    async use(other: string) {
      writeFiles(directory, { tickets: other });
      await served.reload(await read());
    },
  };
}

async function resumed(port: number, options: ClientOptions): Promise<boolean> {
  const talk = await tlsTalk(port, options);
  assert.equal(talk.text, 'ping');
  return talk.resumed;
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  for (const client of [undefined, credential]) {
    const options = { version, servername: client ? 'mutual.example' : 'open.example', credential: client };

    test(`${version}, ${options.servername}: at another machine, with the same secrets only`, async (t) => {
      const secret = randomBytes(32).toString('hex');
      const here = await startMachine(t, `${secret}\n`);
      const there = await startMachine(t, `# shared\n\n  ${secret.toUpperCase()}\r\n`);
      const elsewhere = await startMachine(t, randomBytes(32).toString('hex'));
      const { session } = await tlsTalk(here.port, options);
      assert.ok(session);
      assert.equal(await resumed(here.port, { ...options, session }), true);
      assert.equal(await resumed(there.port, { ...options, session }), true);
      assert.equal(await resumed(elsewhere.port, { ...options, session }), false);
    });
  }

  test(`${version}: a new secret, machine after machine, costs nobody a full handshake`, async (t) => {
    const [old, fresh] = [randomBytes(48).toString('base64'), randomBytes(48).toString('base64')];
    const options = { version, servername: 'open.example' };
    const machines = [await startMachine(t, old), await startMachine(t, old)];
    const { session } = await tlsTalk(machines[0]?.port ?? 0, options);
    const sessions = [session];
    // First it is known everywhere, then used.
    for (const secrets of [`${old}\n${fresh}\n`, `${fresh}\n${old}\n`]) {
      for (const machine of machines) {
        await machine.use(secrets);
        sessions.push((await tlsTalk(machine.port, options)).session);
        for (const { port } of machines) {
          for (const one of sessions) assert.equal(await resumed(port, { ...options, session: one }), true);
        }
      }
    }
    const last = sessions.at(-1);
    for (const { use } of machines) await use(fresh);
    for (const { port } of machines) {
      assert.equal(await resumed(port, { ...options, session }), false);
      assert.equal(await resumed(port, { ...options, session: last }), true);
    }
  });
}

test('any worker of any of them, which staples, too, what the supervisor has read', async (t) => {
  const upstream = await echoUpstream(t);
  const { config, files } = sceneConfig({ listeners: { one: [{}] } }, upstream.port);
  const pairs = [{ cert: 'own-0.crt', key: 'own-0.key', ocsp: 'own.ocsp' }];
  const whole = {
    ...config,
    workers: 2,
    certificates: { own: { pairs } },
    listeners: { one: { bind: '127.0.0.1:0', ...config.listeners['one'] } },
    session_tickets: { keys: 'tickets' },
  };
  const staple = ocspResponse(serverAuthority, serverCredential);
  const all = { ...files, tickets: randomBytes(32).toString('hex'), 'own.ocsp': staple };
  const machines = await Promise.all([1, 2].map(() => startPenstock(t, whole, { files: all })));
  const ports = machines.map((machine) => machine.port('one'));
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const first = await tlsTalk(ports[0] ?? 0, { version, requestOCSP: true });
    assert.deepEqual(first.staple, staple);
    for (let round = 0; round < 5; round++) {
      for (const port of ports) assert.equal(await resumed(port, { version, session: first.session }), true);
    }
  }
});

const rest = 'listeners: { db: { bind: ":1", routes: [{ deny: true }] } }';
const withKeys = (path: string) => `session_tickets: { keys: ${path} }\n${rest}\n`;
const secretOf = (digit: string) => digit.repeat(64);
const bytesOf = (digit: string) => Buffer.from(secretOf(digit), 'hex');

test('of a file the first secret is current, two more are accepted', async (t) => {
  const lines = ['1', '2', '3', '4'].map(secretOf).join('\n');
  const { loaded, directory, faults } = await load(t, withKeys('tickets'), { files: { tickets: lines } });
  assert.deepEqual(faults, []);
  assert.deepEqual(loaded?.ticketMasters, {
    current: bytesOf('1'),
    accepted: [bytesOf('2'), bytesOf('3')],
  });
  assert.ok(loaded?.files.includes(join(directory, 'tickets')));
});

test('of a directory the last name is current; hidden files are none', async (t) => {
  const files = {
    'tickets/2026-11-02': secretOf('2'),
    'tickets/2026-11-03': `${secretOf('3')}\n`,
    'tickets/2026-11-01': secretOf('1'),
    'tickets/2026-10-31': secretOf('0'),
    'tickets/.2026-12-01': 'hidden',
    'tickets/..data/x': 'hidden',
  };
  const { loaded, directory, faults } = await load(t, withKeys('tickets'), { files });
  assert.deepEqual(faults, []);
  assert.deepEqual(loaded?.ticketMasters, {
    current: bytesOf('3'),
    accepted: [bytesOf('2'), bytesOf('1')],
  });
  // What is added to it is noticed, too.
  const watched = ['tickets', 'tickets/2026-11-03', 'tickets/2026-11-01'];
  for (const name of watched) assert.ok(loaded?.files.includes(join(directory, name)), name);
});

test('without it they are random, replaced every 12 hours or as told', async (t) => {
  const { loaded } = await load(t, rest);
  assert.equal(loaded?.ticketMasters, undefined);
  assert.deepEqual(loaded?.config.session_tickets, { rotate: 12 * 3_600_000, keys: undefined });
  const told = await load(t, `session_tickets: { rotate: 90m }\n${rest}`);
  assert.equal(told.loaded?.config.session_tickets.rotate, 90 * 60_000);
  assert.deepEqual(told.warnings, [
    'penstock.yaml:1:28 session_tickets.rotate: sessions could be resumed for 2 hours, but after two rotations they no longer can',
  ]);
  assert.deepEqual((await load(t, `session_tickets: { rotate: 2h }\n${rest}`)).warnings, []);
});

test('what is no secret is a fault that does not repeat it', async (t) => {
  const hint =
    'write one secret per line, 32 bytes or more in hex or base64: `openssl rand -hex 32` prints one';
  const place = 'penstock.yaml:1:26 session_tickets.keys';
  const table: [content: string, fault: string][] = [
    ['', `tickets holds no secret; ${hint}`],
    ['# nothing\n\n', `tickets holds no secret; ${hint}`],
    ['a'.repeat(62), `line 1 of tickets is not a secret; ${hint}`],
    [`${secretOf('a')}\nswordfish`, `line 2 of tickets is not a secret; ${hint}`],
    [`${secretOf('a')} ${secretOf('b')}`, `line 1 of tickets is not a secret; ${hint}`],
    [Buffer.alloc(31, 1).toString('base64'), `line 1 of tickets is not a secret; ${hint}`],
    ['\u0001\u0002'.repeat(40), `line 1 of tickets is not a secret; ${hint}`],
  ];
  for (const [tickets, fault] of table) {
    const { faults } = await load(t, withKeys('tickets'), { files: { tickets } });
    assert.deepEqual(faults, [`${place}: ${fault}`]);
  }
  const missing = await load(t, withKeys('nowhere'));
  assert.deepEqual(missing.faults, [
    `${place}: nowhere does not exist; paths are relative to the file that names them`,
  ]);
  const both = await load(t, `session_tickets: { keys: tickets, rotate: 3h }\n${rest}`, {
    files: { tickets: secretOf('a') },
  });
  assert.deepEqual(both.faults, [
    'penstock.yaml:1:43 session_tickets.rotate: with `keys` nothing is rotated here; remove one of the two',
  ]);
});

test('secrets that all users may read are warned about', async (t) => {
  const { directory } = await load(t, withKeys('tickets'), { files: { tickets: secretOf('a') } });
  chmodSync(join(directory, 'tickets'), 0o644);
  const { warnings } = await loadConfig(join(directory, 'penstock.yaml'));
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]?.message ?? '', /tickets can be read by every user of this machine$/);
  assert.match(warnings[0]?.hint ?? '', /^chmod o-r /);
});

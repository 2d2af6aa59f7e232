/**
 * Clients of MySQL are greeted with thread ids of ours. A KILL of one, as the first command of a connection from the same address, reaches the
 * server that has the session, with that server's own id; the login of a program that has come for it is brought to that server. Whatever else
 * a client says goes to its server as it is.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { can, common } from '../../src/protocols/mysql/capabilities.ts';
import { readKill } from '../../src/protocols/mysql/kill.ts';
import { encodePacket } from '../../src/protocols/mysql/packets.ts';
import {
  errorIn,
  type LoggedIn,
  logIn,
  type MysqlServer,
  mysqlServer,
  ok,
  type Packet,
} from '../support/mysql.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { startPenstock } from '../support/penstock.ts';
import { type RunningProxy, startProxy } from '../support/proxy.ts';

const own = await ownCertificate('db.example');
const servername = 'db.example';
/** Of a client that has come to kill: the command lines ask for less then. */
const modest =
  common & ~can.compress & ~can.zstd & ~can.ssl & ~can.connectWithDatabase & ~can.multiStatements;

const textOf = (id: number | string, how = 'KILL QUERY ') => Buffer.from(`\x03${how}${id}`);

function configOf(servers: readonly MysqlServer[]) {
  return {
    ...own.sections,
    listeners: {
      mysql: {
        bind: '127.0.0.1:0',
        starttls: 'mysql',
        routes: [
          { sni: servername, tls: { certificates: 'own' }, upstream: 'mysql' },
          { tls: 'off', upstream: 'mysql' },
        ],
      },
    },
    upstreams: { mysql: { endpoints: servers.map(({ port }) => `127.0.0.1:${port}`) } },
  };
}

/** Two servers, each of which knows its sessions by the same number. */
async function startScene(t: TestContext): Promise<{ proxy: RunningProxy; servers: MysqlServer[] }> {
  const servers = [await mysqlServer(t, own.credential), await mysqlServer(t, own.credential)];
  return { proxy: await startProxy(t, configOf(servers), own.files), servers };
}

async function say({ stream, packets }: LoggedIn, payload: Buffer): Promise<Packet> {
  stream.write(encodePacket(0, payload));
  return packets.next();
}

/** The server that has this session, made known by a command. */
async function serverOf(session: LoggedIn, servers: readonly MysqlServer[]): Promise<MysqlServer> {
  const mark = Buffer.from(`\x03do ${session.greeting.threadId}`);
  assert.deepEqual((await say(session, mark)).payload, ok);
  const server = servers.find(({ commands }) => commands.some((command) => command.equals(mark)));
  assert.ok(server);
  return server;
}

const killsAt = ({ commands }: MysqlServer) => commands.filter((command) => !command.includes('\x03do '));

test('ids are ours, each another, and positive for clients that read signed numbers', async (t) => {
  const { proxy } = await startScene(t);
  const ids = [await logIn(t, proxy.port(), { servername }), await logIn(t, proxy.port())].map(
    ({ greeting }) => greeting.threadId,
  );
  assert.equal(new Set(ids).size, 2);
  assert.ok(
    ids.every((id) => id >= 2 ** 30 && id < 2 ** 31),
    `${ids}`,
  );
});

for (const tls of [{ servername }, {}]) {
  describe(`a program ${tls.servername ? 'over TLS' : 'without TLS'} that logs in again to kill its query`, () => {
    test('reaches the server that has it, with the id that this server knows', async (t) => {
      const { proxy, servers } = await startScene(t);
      for (const program of ['one', 'two', 'three']) {
        const session = await logIn(t, proxy.port(), { ...tls, program });
        const server = await serverOf(session, servers);
        const before = servers.map((it) => killsAt(it).length);
        const killer = await logIn(t, proxy.port(), { ...tls, program, capabilities: modest });
        assert.deepEqual((await say(killer, textOf(session.greeting.threadId))).payload, ok);
        assert.deepEqual(killsAt(server).at(-1), textOf(77));
        const after = servers.map((it) => killsAt(it).length);
        assert.deepEqual(
          after,
          before.map((count, at) => (servers[at] === server ? count + 1 : count)),
        );
      }
      assert.ok(
        servers.every(({ seen }) => seen.length >= 2),
        'both have sessions',
      );
      assert.equal(proxy.log.filter(({ msg }) => msg === 'cancel request forwarded').length, 3);
    });
  });
}

test('COM_PROCESS_KILL', async (t) => {
  const { proxy, servers } = await startScene(t);
  const session = await logIn(t, proxy.port(), { servername });
  const killer = await logIn(t, proxy.port(), { servername, capabilities: modest });
  const command = Buffer.from([0x0c, 0, 0, 0, 0]);
  command.writeUInt32LE(session.greeting.threadId, 1);
  assert.deepEqual((await say(killer, command)).payload, ok);
  assert.deepEqual(killsAt(await serverOf(session, servers)), [Buffer.from([0x0c, 77, 0, 0, 0])]);
});

test('another program of the same address: an error where another server has the session, which hears nothing', async (t) => {
  const { proxy, servers } = await startScene(t);
  const session = await logIn(t, proxy.port(), { servername, program: 'one' });
  const server = await serverOf(session, servers);
  const answers = [];
  for (const program of ['two', 'three']) {
    const killer = await logIn(t, proxy.port(), { servername, program });
    const told = await say(killer, textOf(session.greeting.threadId));
    answers.push(errorIn(told)?.code);
    assert.equal(told.sequence, 1);
    if (told.payload[0] === 0xff) assert.match(errorIn(told)?.text ?? '', /at another server/);
    // The connection stays usable.
    assert.deepEqual((await say(killer, Buffer.from('\x03do 1'))).payload, ok);
  }
  assert.deepEqual(new Set(answers), new Set([undefined, 1094]), 'one of two is at the right server');
  assert.deepEqual(servers.flatMap(killsAt), [textOf(77)]);
  assert.deepEqual(killsAt(server), [textOf(77)]);
});

test('a pool of one program is balanced as ever', async (t) => {
  const { proxy, servers } = await startScene(t);
  for (let count = 0; count < 6; count++) await logIn(t, proxy.port(), { servername, program: 'pool' });
  assert.deepEqual(
    servers.map(({ seen }) => seen.length),
    [3, 3],
  );
});

describe('what goes to the server as it is', () => {
  const cases: [name: string, how: (id: number) => Buffer][] = [
    ['another number', () => textOf(77)],
    ['a number of ours that nobody has', (id) => textOf(id + 1000)],
    ['more than a KILL', (id) => textOf(`${id}, 1`)],
    ['another statement', (id) => textOf(id, 'SELECT ')],
    ['a text about a KILL', (id) => textOf(`${id}'`, "SELECT 'KILL QUERY ")],
    ['a long one', (id) => textOf(`${id}${' '.repeat(200)}`)],
  ];
  for (const [name, how] of cases) {
    test(name, async (t) => {
      const { proxy, servers } = await startScene(t);
      const { greeting } = await logIn(t, proxy.port(), { servername });
      const killer = await logIn(t, proxy.port(), { servername, capabilities: modest });
      const command = how(greeting.threadId);
      await say(killer, command);
      assert.deepEqual(servers.flatMap(killsAt), [command]);
    });
  }

  test('a KILL from another address, of a session that has ended, and as a second command', async (t) => {
    const { proxy, servers } = await startScene(t);
    const session = await logIn(t, proxy.port(), { servername });
    const command = textOf(session.greeting.threadId);
    const stranger = await logIn(t, proxy.port(), { servername, localAddress: '127.0.0.2' });
    await say(stranger, command);
    const late = await logIn(t, proxy.port(), { servername, capabilities: modest });
    await say(late, Buffer.from('\x03do 1'));
    await say(late, command);
    assert.deepEqual(servers.flatMap(killsAt), [command, command]);
    session.stream.destroy();
    await proxy.connectionLine();
    await say(await logIn(t, proxy.port(), { servername, capabilities: modest }), command);
    assert.deepEqual(servers.flatMap(killsAt), [command, command, command]);
  });
});

test('a client that says nothing is not held, and one whose server speaks first hears it', async (t) => {
  const goodbye = encodePacket(0, Buffer.from('\xff\xc8\x0f#08S01The client was disconnected', 'latin1'));
  const server = await mysqlServer(t, own.credential, {
    async afterLogin({ say: tell }) {
      tell(ok);
      tell(goodbye.subarray(4));
    },
  });
  const proxy = await startProxy(t, configOf([server]), own.files);
  const { packets, stream } = await logIn(t, proxy.port(), { servername });
  assert.deepEqual((await packets.next()).payload, goodbye.subarray(4));
  stream.end();
  assert.equal((await proxy.connectionLine())['phase'], 'splice');
});

test('in any worker', async (t) => {
  const servers = [await mysqlServer(t, own.credential), await mysqlServer(t, own.credential)];
  const penstock = await startPenstock(t, { workers: 2, ...configOf(servers) }, { files: own.files });
  const port = penstock.port('mysql');
  const session = await logIn(t, port, { servername, program: 'one' });
  const server = await serverOf(session, servers);
  // Below the ten a second that are looked up; some of them fall on the other worker.
  for (let count = 1; count <= 8; count++) {
    const killer = await logIn(t, port, { servername, program: 'one', capabilities: modest });
    await say(killer, textOf(session.greeting.threadId));
    assert.equal(killsAt(server).length, count);
  }
  assert.ok(killsAt(server).every((command) => command.equals(textOf(77))));
  assert.deepEqual(servers.flatMap(killsAt).length, 8, 'the other server heard of none');
});

describe('the text of a KILL', () => {
  const id = 2 ** 30 + 4711;
  const texts: [text: string, becomes: string | undefined][] = [
    [`KILL ${id}`, 'KILL 5'],
    [`kill query ${id};`, 'kill query 5;'],
    [` KILL  CONNECTION\n${id} ; `, ' KILL  CONNECTION\n5 ; '],
    [`KILL HARD QUERY ${id}`, 'KILL HARD QUERY 5'],
    [`KILL SOFT ${id}`, 'KILL SOFT 5'],
    [`KILL QUERY ID ${id}`, undefined],
    [`KILL USER ${id}`, undefined],
    ['KILL 5', undefined],
    [`KILL ${2 ** 31 + 5}`, undefined],
    [`KILL${id}`, undefined],
    ['', undefined],
  ];
  for (const [text, becomes] of texts) {
    test(JSON.stringify(text), () => {
      const packet = encodePacket(0, Buffer.from(`\x03${text}`));
      const command = readKill(packet, false);
      assert.deepEqual(command?.with(5), becomes && encodePacket(0, Buffer.from(`\x03${becomes}`)));
      if (command === undefined) return;
      assert.deepEqual([command.length, command.name], [packet.length, String(id)]);
      for (let cut = 0; cut < packet.length; cut++)
        assert.equal(readKill(packet.subarray(0, cut), false), undefined);
    });
  }

  test('compressed', () => {
    const inner = encodePacket(0, textOf(id));
    const header = Buffer.from([inner.length, 0, 0, 0, 0, 0, 0]);
    const command = readKill(Buffer.concat([header, inner]), true);
    const becomes = encodePacket(0, textOf(5));
    assert.deepEqual(
      command?.with(5),
      Buffer.concat([Buffer.from([becomes.length, 0, 0, 0, 0, 0, 0]), becomes]),
    );
    assert.deepEqual([command?.refusal[3], command?.refusal[10]], [1, 1], 'both numbers count');
    header[4] = 80;
    assert.equal(readKill(Buffer.concat([header, inner]), true), undefined, 'really compressed');
  });
});

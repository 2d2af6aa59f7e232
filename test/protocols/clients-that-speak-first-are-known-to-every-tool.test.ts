/**
 * What asks servers for TLS, or is asked for it, does so in the way of LDAP, XMPP and SQL Server where it is told to: health checks (which say goodbye),
 * `probe` (which names a server that it was not told about), `load`, and `hello --listen`.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { protocols } from '../../src/protocols/table.ts';
import { listenForHellos } from '../../src/tools/hello/listen.ts';
import {
  askedForTls,
  askedServer,
  clientFirstNames,
  clientFirstWords,
  withinTls,
} from '../support/client-first.ts';
import { eventually } from '../support/eventually.ts';
import { checksOf, isDown, passed } from '../support/health.ts';
import { load } from '../support/load.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { pathsOf, probeTarget } from '../support/probe.ts';
import { tcpUpstream } from '../support/upstream.ts';

const own = await ownCertificate('xmpp.example', 'localhost');

/** Why a server is down, or undefined. */
async function verdictOn(
  t: TestContext,
  type: string,
  port: number,
  tls?: object,
): Promise<string | undefined> {
  const address = `127.0.0.1:${port}`;
  const health_check = { type, interval: '50ms', timeout: '5s', healthy_after: 1, unhealthy_after: 2 };
  const checks = await checksOf(
    t,
    { endpoints: [address], health_check, ...(tls ? { tls } : {}) },
    { sections: own.sections, files: own.files },
  );
  const { up, reason } = await checks.report(address, (it) => passed(it) || isDown(it));
  return up ? undefined : reason;
}

for (const name of clientFirstNames) {
  const [answer, goodbye, unwell] = clientFirstWords[name].check;
  const verified = { authority: 'test', server_name: 'xmpp.example' };

  test(`${name}: a health check asks and says goodbye, before TLS, within it, or without any`, async (t) => {
    for (const [mode, tls] of [
      ['plain', undefined],
      ['starttls', { ...verified, starttls: name }],
      ['first', verified],
    ] as const) {
      const server = await askedServer(t, name, mode, own.credential, answer);
      assert.equal(await verdictOn(t, name, server.port, tls), undefined, mode);
      await eventually(() => assert.ok(server.within().includes(goodbye), server.within()));
    }
    const stopping = await askedServer(t, name, 'plain', own.credential, unwell);
    assert.match(
      (await verdictOn(t, name, stopping.port)) ?? '',
      /result 52|ends the stream with system-shutdown|answers PRELOGIN with something else/,
    );
    const other = await tcpUpstream(t, (socket) => socket.end('SSH-2.0-x\r\n'));
    assert.match(
      (await verdictOn(t, name, other.port)) ?? '',
      /does not speak (LDAP|TDS)|sends text where a tag belongs/,
    );
  });

  test(`${name}: probe names it, and asks for TLS`, async (t) => {
    const { port } = await askedServer(t, name, 'starttls', own.credential);
    const { ca } = pathsOf(t, { ca: own.authority.cert });
    const named = await tcpUpstream(t, (socket) =>
      socket.end(Buffer.from(clientFirstWords[name].turnedAway, 'latin1')),
    );
    await assert.rejects(probeTarget(`127.0.0.1:${named.port}`), {
      kind: 'not_tls',
      hint: `--starttls ${name}`,
    });
    const seen = await probeTarget(`127.0.0.1:${port}`, { starttls: name, sni: 'xmpp.example', ca });
    assert.equal(seen.starttls, name);
    assert.equal(seen.penstock.connects, true);
  });

  test(`${name}: probe names a server that hangs up on a ClientHello`, async (t) => {
    const { port } = await tcpUpstream(t, (socket) => {
      const left = [...clientFirstWords[name].heard];
      socket.on('data', (data: Buffer) => {
        const [request, reply = ''] = left.shift() ?? [];
        if (data.toString('latin1') === request) socket.write(reply, 'latin1');
        else socket.end();
      });
    });
    await assert.rejects(probeTarget(`127.0.0.1:${port}`, { sni: 'xmpp.example' }), {
      kind: 'not_tls',
      hint: `--starttls ${name}`,
    });
  });

  test(`${name}: load asks for TLS`, async (t) => {
    const server = await askedServer(t, name, 'starttls', own.credential);
    const flags = ['--starttls', name, '-n', '3', '--no-progress', '--sni', 'xmpp.example'];
    const { errors } = await load(server.port, ...flags, '--send', 'ping', '--expect-bytes', '4');
    assert.deepEqual(errors.kinds, {});
    assert.equal(server.accepted(), 3);
  });

  test(`${name}: hello answers clients, and decodes what they send when they have asked for TLS`, async (t) => {
    const heard: (string | undefined)[] = [];
    const server = await listenForHellos({ host: '127.0.0.1', port: 0 }, protocols[name], ({ read }) =>
      heard.push(read?.hello.sni),
    );
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const { stream } = withinTls(t, await askedForTls(t, name, port), { servername: 'a.example' });
    await assert.rejects(once(stream, 'secureConnect'));
    assert.deepEqual(heard, ['a.example']);
  });
}

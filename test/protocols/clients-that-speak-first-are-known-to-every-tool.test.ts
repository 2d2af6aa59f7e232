/**
 * What asks servers for TLS, or is asked for it, does so in the way of LDAP, XMPP and SQL Server where it is told to: health checks (which say goodbye),
 * `probe` (which names a server that it was not told about), `load`, and `hello --listen`.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
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
import { load } from '../support/load.ts';
import { pathsOf, probeTarget } from '../support/probe.ts';
import { sceneOf } from '../support/starttls.ts';
import { tcpUpstream } from '../support/upstream.ts';

const { own, towards, verdictOn } = await sceneOf('xmpp.example');

for (const name of clientFirstNames) {
  const [answer, goodbye, unwell] = clientFirstWords[name].check;

  test(`${name}: a health check asks and says goodbye, before TLS, within it, or without any`, async (t) => {
    for (const mode of ['plain', 'starttls', 'first'] as const) {
      const server = await askedServer(t, name, mode, own.credential, answer);
      assert.equal(await verdictOn(t, name, server.port, towards(name)[mode]), undefined, mode);
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

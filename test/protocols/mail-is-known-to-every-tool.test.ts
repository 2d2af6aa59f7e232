/**
 * What asks servers for TLS, or is asked for it, does so in the way of each mail protocol where it is told to: health checks (which say
 * goodbye), `probe` (which names a server that it was not told about), `load`, and `hello --listen`.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { protocols } from '../../src/protocols/table.ts';
import { listenForHellos } from '../../src/tools/hello/listen.ts';
import { eventually } from '../support/eventually.ts';
import { load } from '../support/load.ts';
import { askedForTls, mailNames, mailServer, mailWords, within } from '../support/mail.ts';
import { pathsOf, probeTarget } from '../support/probe.ts';
import { sceneOf } from '../support/starttls.ts';
import { tcpUpstream } from '../support/upstream.ts';

const { own, towards, verdictOn } = await sceneOf('mail.example');

for (const name of mailNames) {
  const { greeting, turnedAway } = mailWords[name];

  test(`${name}: a health check reads the greeting and says goodbye, before TLS, within it, or without any`, async (t) => {
    for (const mode of ['plain', 'starttls', 'first'] as const) {
      const server = await mailServer(t, name, mode, own.credential);
      assert.equal(await verdictOn(t, name, server.port, towards(name)[mode]), undefined, mode);
      await eventually(() => assert.match(server.within(), /(QUIT|LOGOUT)\r\n/));
    }
    const full = await tcpUpstream(t, (socket) => socket.end(turnedAway));
    assert.match(
      (await verdictOn(t, name, full.port)) ?? '',
      /the server greets with "(554|\* BYE|-ERR|BYE)"/,
    );
    const other = await tcpUpstream(t, (socket) => socket.end('SSH-2.0-x\r\n'));
    assert.match((await verdictOn(t, name, other.port)) ?? '', /answers a connection with something else/);
  });

  test(`${name}: probe names it, and asks for TLS`, async (t) => {
    const { port } = await mailServer(t, name, 'starttls', own.credential);
    const { ca } = pathsOf(t, { ca: own.authority.cert });
    const first =
      name === 'smtp' ? '220 mx.example ESMTP\r\n' : name === 'lmtp' ? '220 mx.example LMTP\r\n' : greeting;
    const named = await tcpUpstream(t, (socket) => void socket.write(first));
    await assert.rejects(probeTarget(`127.0.0.1:${named.port}`), {
      kind: 'not_tls',
      hint: `--starttls ${name}`,
    });
    const seen = await probeTarget(`127.0.0.1:${port}`, { starttls: name, sni: 'mail.example', ca });
    assert.equal(seen.starttls, name);
    assert.equal(seen.penstock.connects, true);
  });

  test(`${name}: load asks for TLS`, async (t) => {
    const server = await mailServer(t, name, 'starttls', own.credential);
    const { again, ping } = mailWords[name];
    const talk = [
      '--send',
      JSON.stringify(ping[0]).slice(1, -1),
      '--expect-bytes',
      `${again.length + ping[1].length}`,
    ];
    const flags = ['--starttls', name, '-n', '3', '--no-progress', ...talk];
    const { errors } = await load(server.port, ...flags);
    assert.deepEqual(errors.kinds, {});
    assert.equal(server.accepted(), 3);
  });

  test(`${name}: hello greets clients, and decodes what they send when they have asked for TLS`, async (t) => {
    const heard: (string | undefined)[] = [];
    const server = await listenForHellos({ host: '127.0.0.1', port: 0 }, protocols[name], ({ read }) =>
      heard.push(read?.hello.sni),
    );
    t.after(() => server.close());
    const { port } = server.address() as { port: number };
    const { stream } = within(t, await askedForTls(t, name, port), { servername: 'a.example' });
    await assert.rejects(once(stream, 'secureConnect'));
    assert.deepEqual(heard, ['a.example']);
  });
}

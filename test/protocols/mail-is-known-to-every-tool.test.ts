/**
 * What asks servers for TLS, or is asked for it, does so in the way of each mail protocol where it is told to: health checks (which say
 * goodbye), `probe` (which names a server that it was not told about), `load`, and `hello --listen`.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { protocols } from '../../src/protocols/table.ts';
import { listenForHellos } from '../../src/tools/hello/listen.ts';
import { eventually } from '../support/eventually.ts';
import { checksOf, isDown, passed } from '../support/health.ts';
import { load } from '../support/load.ts';
import { askedForTls, mailNames, mailServer, mailWords, within } from '../support/mail.ts';
import { ownCertificate } from '../support/own-certificate.ts';
import { pathsOf, probeTarget } from '../support/probe.ts';
import { tcpUpstream } from '../support/upstream.ts';

const own = await ownCertificate('mail.example', 'localhost');

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

for (const name of mailNames) {
  const { greeting, turnedAway } = mailWords[name];
  const verified = { authority: 'test', server_name: 'mail.example' };

  test(`${name}: a health check reads the greeting and says goodbye, before TLS, within it, or without any`, async (t) => {
    for (const [mode, tls] of [
      ['plain', undefined],
      ['starttls', { ...verified, starttls: name }],
      ['first', verified],
    ] as const) {
      const server = await mailServer(t, name, mode, own.credential);
      assert.equal(await verdictOn(t, name, server.port, tls), undefined, mode);
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

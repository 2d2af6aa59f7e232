/**
 * A reload of which only some objects differ leaves everything else as it was, in every worker: sessions of an
 * unchanged TLS policy resume, open connections are still counted towards their limits, and what health checks
 * have found about an endpoint holds. The policy that did change resumes nothing.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { createAuthority } from '../support/certificates.ts';
import { echoUpstream, tlsOpen, tlsTalk } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type Penstock, startPenstock } from '../support/penstock.ts';
import { closedPort } from '../support/upstream.ts';

type Status = { readonly upstreams: readonly { name: string; endpoints: readonly { state: string }[] }[] };

test('tickets, counts and health outlive a change of something else', async (t) => {
  const authority = await createAuthority();
  const [echo, down] = [await echoUpstream(t), await closedPort()];
  const files: Record<string, string> = {};
  for (const name of ['a', 'b', 'c']) {
    const { chain, key } = await authority.issue({ dns: [`${name}.example`, 'b.example'] });
    Object.assign(files, { [`${name}.crt`]: chain, [`${name}.key`]: key });
  }
  const textWith = (certificate: string, more: string) =>
    [
      'workers: 1',
      'admin: { bind: 127.0.0.1:0 }',
      'certificates:',
      ...['a', 'b', 'c'].map((name) => `  ${name}: { cert: ${name}.crt, key: ${name}.key }`),
      'listeners:',
      '  main:',
      '    bind: 127.0.0.1:0',
      '    limits: { connections: 2 }',
      '    routes:',
      '      - { sni: a.example, tls: { certificates: a }, upstream: echo }',
      `      - { sni: b.example, tls: { certificates: ${certificate} }, upstream: echo }`,
      'upstreams:',
      `  echo: { endpoints: ["127.0.0.1:${echo.port}"]${more} }`,
      `  down: { endpoints: ["127.0.0.1:${down}"], health_check: { type: tcp, interval: 1h, unhealthy_after: 1 } }`,
      '',
    ].join('\n');
  const penstock = await startPenstock(t, parse(textWith('b', '')), { files });
  let reloads = 0;
  const reload = async (certificate: string, more: string) => {
    writeFileSync(join(penstock.directory, 'penstock.yaml'), textWith(certificate, more));
    penstock.child.kill('SIGHUP');
    reloads += 1;
    await eventually(() => assert.equal(countOf(penstock, 'reloaded'), reloads));
  };
  // From now on it is a file in parts, of which a reload compares the objects.
  await reload('b', '');
  const stateOfDown = async () => {
    const admin = penstock.log().find(({ msg }) => msg === 'ready')?.['admin'];
    const { upstreams } = (await (await fetch(`http://${admin}/status`)).json()) as Status;
    return upstreams.find(({ name }) => name === 'down')?.endpoints[0]?.state;
  };
  await eventually(async () => assert.equal(await stateOfDown(), 'down'));
  const port = penstock.port('main');
  const talk = (name: string, session?: Buffer) =>
    tlsTalk(port, { servername: `${name}.example`, ca: authority.cert, session });
  const [a, b] = [await talk('a'), await talk('b')];

  await reload('c', '');
  assert.equal((await talk('a', a.session)).resumed, true, 'an unchanged policy resumes');
  assert.equal((await talk('b', b.session)).resumed, false, 'one with another certificate does not');
  assert.equal(await stateOfDown(), 'down');

  const open = [
    await tlsOpen(port, { servername: 'a.example', ca: authority.cert }),
    await tlsOpen(port, { servername: 'b.example', ca: authority.cert }),
  ];
  await reload('c', ', retries: 1');
  // Both places are taken, by connections of the former configuration.
  assert.equal((await talk('a')).secured, false);
  for (const { socket } of open) socket.destroy();
  await eventually(async () => assert.equal((await talk('a', a.session)).resumed, true));
  assert.equal(await stateOfDown(), 'down');
});

function countOf(penstock: Penstock, message: string): number {
  return penstock.log().filter(({ msg }) => msg === message).length;
}

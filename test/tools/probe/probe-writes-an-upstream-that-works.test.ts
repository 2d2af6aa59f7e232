/**
 * What `penstock probe --yaml` prints is a configuration without faults or warnings, and a penstock that runs it reaches the
 * endpoint: by a CA, by its own name, by pins, with a client certificate, behind STARTTLS, with its ciphers. What penstock
 * cannot reach gives none.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, type TestContext, test } from 'node:test';
import type { TlsOptions } from 'node:tls';
import { parse } from 'yaml';
import { loadConfig } from '../../../src/config/sources/file.ts';
import type { ProbeFlags } from '../../../src/tools/probe/flags.ts';
import { yamlFor } from '../../../src/tools/probe/yaml.ts';
import {
  type Authority,
  createAuthority,
  selfSigned,
  temporaryDirectory,
} from '../../support/certificates.ts';
import { pathsOf, probeTarget, withDefaults } from '../../support/probe.ts';
import { exchange, startProxy } from '../../support/proxy.ts';
import { tlsUpstream } from '../../support/tls-upstream.ts';
import { tcpUpstream } from '../../support/upstream.ts';

let ca: Authority;
before(async () => {
  ca = await createAuthority();
});

type Written = { listeners: Record<string, { bind?: string }>; upstreams: Record<string, { tls: object }> };

/** Probes, checks what is written, runs it, and sends a line through it. Returns the `tls` of the upstream, and the text. */
async function reach(t: TestContext, target: string, some: Partial<ProbeFlags> = {}) {
  const flags = withDefaults(some);
  const written = yamlFor(await probeTarget(target, flags), flags);
  assert.ok('yaml' in written, JSON.stringify(written));
  const file = join(temporaryDirectory(t), 'penstock.yaml');
  writeFileSync(file, written.yaml);
  assert.deepEqual((await loadConfig(file)).warnings, []);
  const config = parse(written.yaml) as Written;
  const [upstream] = Object.values(config.upstreams);
  // The port of its example may be taken on this machine.
  for (const listener of Object.values(config.listeners)) delete listener.bind;
  const proxy = await startProxy(t, config);
  assert.equal((await exchange(proxy.port(), 'hello')).received.toString(), 'hello');
  return { tls: upstream?.tls, text: written.yaml };
}

test('trusted by a CA', async (t) => {
  const { port } = await tlsUpstream(t, await ca.issue({ dns: ['localhost'] }));
  const { ca: file } = pathsOf(t, { ca: ca.cert });
  const { tls, text } = await reach(t, `localhost:${port}`, { ca: file });
  assert.deepEqual(tls, { server_name: 'localhost', authority: 'upstream-ca', min_version: '1.3' });
  assert.match(text, /^# what penstock probe localhost:\d+ found on /);
  assert.doesNotMatch(text, /client certificate/);
});

test('for another name than that of the endpoint', async (t) => {
  const { port } = await tlsUpstream(t, await ca.issue({ dns: ['*.example', 'db.internal'] }), {
    maxVersion: 'TLSv1.2',
  });
  const { ca: file } = pathsOf(t, { ca: ca.cert });
  const { tls, text } = await reach(t, `127.0.0.1:${port}`, { ca: file });
  assert.deepEqual(tls, { server_name: 'db.internal', authority: 'upstream-ca', min_version: '1.2' });
  assert.match(text, /# The certificate is not for 127\.0\.0\.1 but for this server_name/);
});

test('self-signed, or without a name of its own: by pins, one for each key', async (t) => {
  const ec = await selfSigned({ dns: ['localhost'] });
  const rsa = await selfSigned({ dns: ['localhost'], keyType: 'rsa' });
  const both = await tlsUpstream(t, ec, { cert: [ec.cert, rsa.cert], key: [ec.key, rsa.key] });
  const { tls, text } = await reach(t, `localhost:${both.port}`);
  assert.deepEqual(tls, {
    server_name: 'localhost',
    verify: 'pin',
    pins: [ec.pin, rsa.pin],
    min_version: '1.3',
  });
  assert.match(
    text,
    /# Its key is pinned, because it is not trusted by system: it is self-signed, and not in the authority\.\n.*compare it with/,
  );
  const nameless = await ca.issue({ dns: ['*.example'] });
  const { port } = await tlsUpstream(t, nameless);
  const { ca: file } = pathsOf(t, { ca: ca.cert });
  const pinned = await reach(t, `127.0.0.1:${port}`, { ca: file });
  assert.deepEqual(pinned.tls, { verify: 'pin', pins: [nameless.pin], min_version: '1.3' });
});

test('with a client certificate, or a word on the one that is missing', async (t) => {
  const clients = await createAuthority({ name: 'Client CA' });
  const app = await clients.issue({ cn: 'app', usage: 'client' });
  const options: TlsOptions = { requestCert: true, rejectUnauthorized: true, ca: clients.cert };
  const { port } = await tlsUpstream(t, await ca.issue({ dns: ['localhost'] }), options);
  const { ca: file, cert, key } = pathsOf(t, { ca: ca.cert, cert: app.cert, key: app.key });
  const { tls, text } = await reach(t, `localhost:${port}`, { ca: file, cert, key });
  assert.deepEqual(tls, {
    server_name: 'localhost',
    authority: 'upstream-ca',
    certificate: 'client',
    min_version: '1.3',
  });
  assert.deepEqual(parse(text).certificates, { client: { cert, key } });
  const stranger = await ca.issue({ cn: 'app', usage: 'client' });
  const other = pathsOf(t, { cert: stranger.cert, key: stranger.key });
  const wrong = withDefaults({ ca: file, ...other });
  const doubtful = yamlFor(await probeTarget(`localhost:${port}`, wrong), wrong);
  assert.ok('yaml' in doubtful);
  assert.match(doubtful.yaml, /# It took the client certificate and then hung up without a word/);
  const flags = withDefaults({ ca: file });
  const without = yamlFor(await probeTarget(`localhost:${port}`, flags), flags);
  assert.ok('yaml' in without);
  assert.match(
    without.yaml,
    /# It demands a client certificate, of CN=Client CA:\n +# add `certificate: NAME`/,
  );
  assert.equal(parse(without.yaml).certificates, undefined);
});

test('behind STARTTLS', async (t) => {
  const behind = await tlsUpstream(t, await ca.issue({ dns: ['localhost'] }));
  const postgres = await tcpUpstream(t, (socket) => {
    socket.once('data', async () => {
      socket.write('S');
      const { connect } = await import('node:net');
      const onward = connect({ port: behind.port, host: '127.0.0.1' });
      onward.on('error', () => socket.destroy());
      socket.pipe(onward).pipe(socket);
    });
  });
  const { ca: file } = pathsOf(t, { ca: ca.cert });
  const flags = withDefaults({ ca: file, starttls: 'postgres' });
  const written = yamlFor(await probeTarget(`localhost:${postgres.port}`, flags), flags);
  assert.ok('yaml' in written);
  const { upstreams, listeners } = parse(written.yaml);
  assert.equal(upstreams.localhost.tls.starttls, 'postgres');
  assert.equal(listeners.localhost.starttls, 'postgres');
});

test('with ciphers, where the defaults have none in common', async (t) => {
  const server = await selfSigned({ dns: ['localhost'], keyType: 'rsa' });
  const { port } = await tlsUpstream(t, server, { ciphers: 'AES256-GCM-SHA384', maxVersion: 'TLSv1.2' });
  const { tls } = await reach(t, `localhost:${port}`);
  assert.deepEqual((tls as { ciphers: unknown }).ciphers, ['AES256-GCM-SHA384']);
});

test('none for what penstock cannot reach', async (t) => {
  const { port } = await tlsUpstream(t, await ca.issue({ dns: ['localhost'] }), {
    minVersion: 'TLSv1',
    maxVersion: 'TLSv1.1',
    ciphers: 'ALL:@SECLEVEL=0',
  });
  const flags = withDefaults({});
  assert.deepEqual(yamlFor(await probeTarget(`localhost:${port}`, flags), flags), {
    reason: 'penstock speaks TLS 1.2 and TLS 1.3, and this endpoint neither',
  });
});

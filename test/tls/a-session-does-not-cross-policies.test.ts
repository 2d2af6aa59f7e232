/**
 * A session resumes under the policy that it was made under, and nowhere else: not under another authority, not on a
 * route that asks for more, not after the policy's authority, CRL, pins or rules have changed. Where it does resume, the
 * client is judged anew. At the end every session of every policy is offered to every other one. TLS 1.2 (by ticket) and 1.3
 * (by PSK). Every offered session is first shown to resume where it should: one that never resumes would prove nothing.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { SecureVersion } from 'node:tls';
import { createAuthority, writeFiles } from '../support/certificates.ts';
import { type ClientOptions, echoUpstream } from '../support/clients.ts';
import { eventually } from '../support/eventually.ts';
import { type LogLine, startProxy } from '../support/proxy.ts';
import {
  type AuthorityParts,
  type RouteParts,
  type Scene,
  sceneConfig,
  serverAuthority,
  startTerminating,
  type Visit,
  visit,
} from '../support/terminating.ts';

type Logged = { readonly log: readonly LogLine[] };

const versions = ['TLSv1.2', 'TLSv1.3'] as const;

const alpha = await createAuthority({ name: 'Alpha' });
const beta = await createAuthority({ name: 'Beta' });
const client = await alpha.issue({ cn: 'client', dns: ['client.example'] });

/** A session of this client that has been seen to resume. */
async function provenSession(proxy: Logged, port: number, options: ClientOptions): Promise<Buffer> {
  const { talk: first } = await visit(proxy, port, options);
  assert.equal(first.text, 'ping');
  const session = first.session;
  assert.ok(session);
  const { talk: second, line } = await visit(proxy, port, { ...options, session });
  assert.equal(second.text, 'ping');
  assert.equal(second.resumed, true);
  assert.equal((line['tls'] as { resumed: boolean }).resumed, true);
  return session;
}

function wasResumed({ talk, line }: Visit): boolean {
  return talk.resumed || (line['tls'] as { resumed: boolean } | undefined)?.resumed === true;
}

/** Seen to be refused with this code, in a full handshake. */
async function refusedAnew(proxy: Logged, port: number, options: ClientOptions, code: string): Promise<void> {
  const outcome = await visit(proxy, port, options);
  assert.equal(outcome.talk.text, '');
  assert.equal(outcome.line['code'], code);
  assert.equal(wasResumed(outcome), false);
}

const routes = [
  { sni: 'open.example' },
  { sni: 'alpha.example', tls: { client_auth: { authority: 'alpha' } } },
  { sni: 'beta.example', tls: { client_auth: { authority: 'beta' } } },
  { sni: 'asked.example', tls: { client_auth: { mode: 'request', authority: 'alpha' } } },
  { sni: 'ruled.example', tls: { client_auth: { authority: 'alpha', allow: [{ cn: 'other' }] } } },
  { sni: 'pinned.example', tls: { client_auth: { pins: [alpha.pin] } } },
];
const authorities = { alpha: { ca: alpha.cert }, beta: { ca: beta.cert } };

for (const version of versions) {
  test(`${version}: to another authority, on the same listener and on another`, async (t) => {
    const proxy = await startTerminating(t, { listeners: { one: routes, two: routes }, authorities });
    const own = { servername: 'alpha.example', version };
    const session = await provenSession(proxy, proxy.port('one'), { ...own, credential: client });
    const accepted = proxy.upstream.accepted;
    for (const listener of ['one', 'two']) {
      const there = { servername: 'beta.example', version, session };
      const port = proxy.port(listener);
      await refusedAnew(proxy, port, { ...there, credential: client }, 'ERR_CLIENT_CERT_UNTRUSTED');
      await refusedAnew(proxy, port, there, 'ERR_CLIENT_CERT_REQUIRED');
    }
    assert.equal(proxy.upstream.accepted, accepted);
  });

  test(`${version}: to stricter rules and to pins of the same client`, async (t) => {
    const proxy = await startTerminating(t, { listeners: { one: routes }, authorities });
    const own = { servername: 'alpha.example', version, credential: client };
    const session = await provenSession(proxy, proxy.port(), own);
    const accepted = proxy.upstream.accepted;
    const codes = {
      'ruled.example': 'ERR_CLIENT_CERT_NOT_ALLOWED',
      'pinned.example': 'ERR_CLIENT_CERT_NOT_PINNED',
    };
    for (const [servername, code] of Object.entries(codes)) {
      await refusedAnew(proxy, proxy.port(), { ...own, servername, session }, code);
    }
    assert.equal(proxy.upstream.accepted, accepted);
  });

  test(`${version}: from a route that asks for nothing, or only asks, to one that requires`, async (t) => {
    const proxy = await startTerminating(t, { listeners: { one: routes }, authorities });
    for (const servername of ['open.example', 'asked.example']) {
      const session = await provenSession(proxy, proxy.port(), { servername, version });
      const accepted = proxy.upstream.accepted;
      const there = { servername: 'alpha.example', version, session };
      await refusedAnew(proxy, proxy.port(), there, 'ERR_CLIENT_CERT_REQUIRED');
      assert.equal(proxy.upstream.accepted, accepted);
    }
  });

  test(`${version}: between two proxies, whose keys nobody shares`, async (t) => {
    const scene = { listeners: { one: [{ tls: { client_auth: { authority: 'ca' } } }] } };
    const first = await startTerminating(t, { ...scene, authorities: { ca: { ca: alpha.cert } } });
    const second = await startTerminating(t, { ...scene, authorities: { ca: { ca: beta.cert } } });
    const options = { version, credential: client };
    const session = await provenSession(first, first.port(), options);
    await refusedAnew(second, second.port(), { ...options, session }, 'ERR_CLIENT_CERT_UNTRUSTED');
    assert.equal(second.upstream.accepted, 0);
  });

  test(`${version}: a client without a certificate stays one when it resumes`, async (t) => {
    const rules = [{ cn: 'client' }];
    const proxy = await startTerminating(t, {
      listeners: {
        one: [
          { sni: 'asked.example', tls: { client_auth: { mode: 'request', authority: 'alpha' } } },
          {
            sni: 'ruled.example',
            tls: { client_auth: { mode: 'request', authority: 'alpha', allow: rules } },
          },
        ],
      },
      authorities,
    });
    const session = await provenSession(proxy, proxy.port(), { servername: 'asked.example', version });
    const { line } = await visit(proxy, proxy.port(), { servername: 'asked.example', version, session });
    assert.equal(line['client_cert'], undefined);
    // It has its tickets before it is refused; they do not help.
    const accepted = proxy.upstream.accepted;
    const strangers = [undefined, await beta.issue({ cn: 'client' })];
    for (const credential of strangers) {
      const options = { servername: 'ruled.example', version, credential };
      const first = await visit(proxy, proxy.port(), options, '');
      assert.match(String(first.line['code']), /^ERR_CLIENT_CERT_(REQUIRED|UNTRUSTED)$/);
      assert.ok(first.talk.session);
      const second = await visit(proxy, proxy.port(), { ...options, session: first.talk.session });
      assert.equal(wasResumed(second), false);
      assert.equal(second.line['code'], first.line['code']);
    }
    assert.equal(proxy.upstream.accepted, accepted);
  });

  test(`${version}: across two names of one policy, as the same client`, async (t) => {
    const tls = { client_auth: { authority: 'alpha' } };
    const names = ['a.example', 'b.example'];
    const proxy = await startTerminating(t, {
      listeners: { one: names.map((sni) => ({ sni, tls })) },
      authorities,
    });
    const options = { servername: 'a.example', version, credential: client };
    const session = await provenSession(proxy, proxy.port(), options);
    const { talk, line } = await visit(proxy, proxy.port(), { ...options, servername: 'b.example', session });
    assert.equal(talk.text, 'ping');
    // TLS 1.2 ties a session to the server name (RFC 6066 §3).
    assert.equal(talk.resumed, version === 'TLSv1.3');
    assert.equal(line['sni'], 'b.example');
    assert.equal(line['route'], 1);
    assert.equal((line['client_cert'] as { subject: string }).subject, 'CN=client');
  });

  test(`${version}: a name has sessions of its own, and none as well`, async (t) => {
    const proxy = await startTerminating(t, { listeners: { one: [{}] } });
    const names = ['a.example', 'b.example', undefined];
    for (const from of names) {
      const session = await provenSession(proxy, proxy.port(), { servername: from, version });
      for (const to of names) {
        // With another case it is the same name.
        const servername = to?.toUpperCase();
        const outcome = await visit(proxy, proxy.port(), { servername, version, session });
        assert.equal(outcome.talk.text, 'ping');
        assert.equal(wasResumed(outcome), from === to || version === 'TLSv1.3', `from ${from} to ${to}`);
      }
    }
  });

  test(`${version}: session_tickets: false resumes nothing`, async (t) => {
    const proxy = await startTerminating(t, { listeners: { one: [{ tls: { session_tickets: false } }] } });
    const { talk } = await visit(proxy, proxy.port(), { version });
    // Clients that only write would be reset by tickets that they do not read.
    if (version === 'TLSv1.3') assert.equal(talk.session, undefined);
    const again = await visit(proxy, proxy.port(), { version, session: talk.session });
    assert.equal(again.talk.text, 'ping');
    assert.equal(wasResumed(again), false);
  });
}

test('TLS 1.2: as many names as one likes: some have sessions and keep them, the others make full handshakes', async (t) => {
  const proxy = await startTerminating(t, { listeners: { one: [{}] } });
  const ask = (number: number, session?: Buffer) =>
    visit(proxy, proxy.port(), { servername: `n${number}.example`, version: 'TLSv1.2', session });
  const sessions: (Buffer | undefined)[] = [];
  for (let number = 0; number < 70; number += 1) {
    const { talk, line } = await ask(number);
    assert.deepEqual([talk.text, line['sni']], ['ping', `n${number}.example`]);
    sessions.push(talk.session);
  }
  for (const [number, resumes] of [
    [0, true],
    [63, true],
    [64, false],
    [69, false],
  ] as const) {
    assert.equal(wasResumed(await ask(number, sessions[number])), resumes, `${number}`);
  }
});

test('an expired certificate does not keep resuming', async (t) => {
  const proxy = await startTerminating(t, { listeners: { one: routes }, authorities });
  const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 2000);
  const credential = await alpha.issue({ cn: 'short', notAfter });
  const options = { servername: 'alpha.example', credential };
  const sessions = new Map<SecureVersion, Buffer>();
  for (const version of versions) {
    sessions.set(version, await provenSession(proxy, proxy.port(), { ...options, version }));
  }
  const accepted = proxy.upstream.accepted;
  await eventually(() => assert.ok(Date.now() > notAfter.getTime()));
  for (const [version, session] of sessions) {
    const outcome = await visit(proxy, proxy.port(), { ...options, version, session });
    assert.equal(wasResumed(outcome), false);
    assert.equal(outcome.talk.text, '');
    assert.equal(outcome.line['code'], 'ERR_CLIENT_CERT_EXPIRED');
  }
  assert.equal(proxy.upstream.accepted, accepted);
});

// By a reload: clients keep their sessions, and ticket keys come from the same master as before.
test('a changed authority, CRL, pin or rule voids all sessions; an unchanged policy keeps them', async (t) => {
  const { log, port, use } = await replaceable(t);
  const crl = (...serials: string[]) => alpha.crl(serials);
  const other = await alpha.issue({ cn: 'other' });
  const authority = { ca: alpha.cert, crl: await crl() };
  const rules = { authority: 'ca', allow: [{ cn: 'client' }] };
  const pins = { pins: [client.pin, other.pin] };
  const changes: [was: object, becomes: object, is: AuthorityParts, code: string | undefined][] = [
    [rules, rules, { ...authority, crl: await crl(client.serial) }, 'ERR_CLIENT_CERT_REVOKED'],
    [rules, rules, { ...authority, crl: await crl(other.serial) }, undefined],
    [rules, rules, { ca: alpha.cert }, undefined],
    [rules, rules, { ca: beta.cert }, 'ERR_CLIENT_CERT_UNTRUSTED'],
    [rules, rules, { ca: alpha.cert + beta.cert }, undefined],
    [rules, { ...rules, allow: [{ cn: 'other' }] }, authority, 'ERR_CLIENT_CERT_NOT_ALLOWED'],
    [rules, { ...rules, allow: [{ cn: 'client' }, { cn: 'other' }] }, authority, undefined],
    [rules, { ...rules, mode: 'request' }, authority, undefined],
    [pins, { pins: [other.pin] }, authority, 'ERR_CLIENT_CERT_NOT_PINNED'],
    [pins, { pins: [client.pin] }, authority, undefined],
  ];
  for (const version of versions) {
    for (const [was, becomes, is, code] of changes) {
      await use(was, authority);
      const options = { version, credential: client };
      const session = await provenSession({ log }, port(), options);
      // The same configuration, read again.
      await use(was, authority);
      assert.equal(wasResumed(await visit({ log }, port(), { ...options, session })), true);
      await use(becomes, is);
      const outcome = await visit({ log }, port(), { ...options, session });
      assert.equal(wasResumed(outcome), false, `${version} ${JSON.stringify(becomes)}`);
      assert.equal(outcome.line['code'], code);
      assert.equal(outcome.talk.text, code === undefined ? 'ping' : '');
    }
  }
});

/** A proxy of one route, whose rules for clients and whose authority `use` replaces by a reload. */
async function replaceable(t: TestContext) {
  const upstream = await echoUpstream(t);
  const sceneOf = (client_auth: object, ca: AuthorityParts) =>
    sceneConfig({ listeners: { one: [{ tls: { client_auth } }] }, authorities: { ca } }, upstream.port);
  const first = sceneOf({ authority: 'ca' }, { ca: alpha.cert });
  const proxy = await startProxy(t, first.config, first.files);
  const use = async (clientAuth: object, authority: AuthorityParts) => {
    const { config, files } = sceneOf(clientAuth, authority);
    writeFiles(proxy.directory, files);
    await proxy.reload(config);
  };
  return { log: proxy.log, port: () => proxy.port(), use };
}

/** All that a policy may differ in. The client above gets in everywhere but where another authority is asked for. */
const policies: Record<string, object> = {
  open: {},
  presents: { certificates: ['other'] },
  protocols: { alpn: ['a'] },
  groups: { groups: ['X25519', 'P-256'] },
  ciphers: { ciphers: ['ECDHE-ECDSA-AES128-GCM-SHA256', 'TLS_AES_128_GCM_SHA256'] },
  asks: { client_auth: { authority: 'alpha', mode: 'request' } },
  requires: { client_auth: { authority: 'alpha' } },
  beta: { client_auth: { authority: 'beta' } },
  both: { client_auth: { authority: 'both' } },
  crl: { client_auth: { authority: 'listed' } },
  rules: { client_auth: { authority: 'alpha', allow: [{ cn: 'client' }] } },
  wider: { client_auth: { authority: 'alpha', allow: [{ cn: 'client' }, { cn: 'other' }] } },
  pins: { client_auth: { pins: [client.pin] } },
  decides: { client_auth: { authority: 'alpha', authorize: './yes.mjs' } },
};
const routesOfAll: RouteParts[] = Object.entries(policies).map(([name, tls]) => ({
  sni: `${name}.example`,
  tls,
}));
const scene: Scene = {
  listeners: { one: routesOfAll, two: routesOfAll },
  certificates: { other: await serverAuthority.issue({ dns: ['*.example'] }) },
  authorities: {
    alpha: { ca: alpha.cert },
    beta: { ca: beta.cert },
    both: { ca: alpha.cert + beta.cert },
    listed: { ca: alpha.cert, crl: await alpha.crl([]) },
  },
  files: { 'yes.mjs': 'export default () => true;' },
};
const names = Object.keys(policies);
/** Where a stranger, without a certificate, gets in. */
const openToAll = ['open', 'presents', 'protocols', 'groups', 'ciphers', 'asks'];

for (const version of versions) {
  test(`${version}: ${names.length} policies, each session at each of them, on two listeners`, async (t) => {
    const proxy = await startTerminating(t, scene);
    let tried = 0;
    for (const from of names.filter((name) => name !== 'beta')) {
      const own = { servername: `${from}.example`, version };
      const { talk } = await visit(proxy, proxy.port('one'), { ...own, credential: client });
      assert.equal(talk.text, 'ping', from);
      assert.ok(talk.session, from);
      for (const to of names) {
        const there = { servername: `${to}.example`, version, session: talk.session };
        for (const listener of ['one', 'two']) {
          const outcome = await visit(proxy, proxy.port(listener), there);
          const what = `${from} at ${to} of ${listener}`;
          const resumed = (outcome.line['tls'] as { resumed?: boolean } | undefined)?.resumed === true;
          assert.equal(resumed, from === to, what);
          assert.equal(outcome.talk.text === 'ping', from === to || openToAll.includes(to), what);
          tried += 1;
        }
      }
    }
    assert.equal(tried, (names.length - 1) * names.length * 2);
  });
}

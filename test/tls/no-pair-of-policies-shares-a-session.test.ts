/**
 * Every session of every policy, offered to every other one: it resumes where the settings are the same, letter by letter,
 * and nowhere else, by ticket (TLS 1.2) and by PSK (TLS 1.3). What it is offered with decides nothing: whoever brings it and
 * no certificate is treated as anybody without a certificate.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority } from '../support/certificates.ts';
import {
  type RouteParts,
  type Scene,
  serverAuthority,
  startTerminating,
  visit,
} from '../support/terminating.ts';

const alpha = await createAuthority({ name: 'Alpha' });
const beta = await createAuthority({ name: 'Beta' });
const client = await alpha.issue({ cn: 'client' });
const authority = 'alpha';

/** All that a policy may differ in. The client above gets in everywhere but where another authority is asked for. */
const policies: Record<string, object> = {
  open: {},
  presents: { certificates: ['other'] },
  protocols: { alpn: ['a'] },
  groups: { groups: ['X25519', 'P-256'] },
  ciphers: { ciphers: ['ECDHE-ECDSA-AES128-GCM-SHA256', 'TLS_AES_128_GCM_SHA256'] },
  asks: { client_auth: { authority, mode: 'request' } },
  requires: { client_auth: { authority } },
  beta: { client_auth: { authority: 'beta' } },
  both: { client_auth: { authority: 'both' } },
  crl: { client_auth: { authority: 'listed' } },
  rules: { client_auth: { authority, allow: [{ cn: 'client' }] } },
  wider: { client_auth: { authority, allow: [{ cn: 'client' }, { cn: 'other' }] } },
  pins: { client_auth: { pins: [client.pin] } },
  decides: { client_auth: { authority, authorize: './yes.mjs' } },
};
const routes: RouteParts[] = Object.entries(policies).map(([name, tls]) => ({ sni: `${name}.example`, tls }));
const scene: Scene = {
  listeners: { one: routes, two: routes },
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

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
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

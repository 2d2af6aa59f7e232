/**
 * testssl.sh finds no weakness in the default settings, and what it sees is Mozilla's intermediate profile: protocols, suites
 * and their order, groups, keys, tickets, staples. Its findings are read one by one; what it says that is not good has to be
 * explained below. One listener is looked at, the one with most to see; PENSTOCK_TESTSSL=all takes all of the demo's, too, and
 * every check (some ten minutes).
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryDirectory } from '../support/certificates.ts';
import { groupsOf, intermediate, tls12Suites } from './mozilla-intermediate.ts';
import { run } from './process.ts';
import { startDemo, startStapled, type TlsListener } from './tls-listeners.ts';

type Finding = { readonly id: string; readonly severity: string; readonly finding: string };

/** What testssl.sh may say, and why it is no weakness of penstock. */
const explained: readonly {
  readonly id: string;
  readonly finding: RegExp;
  readonly of: (listener: TlsListener) => boolean;
  readonly because: string;
}[] = [
  {
    id: 'engine_problem',
    finding: /GOST/,
    of: () => true,
    because: 'the tester lacks an engine of its own',
  },
  {
    id: 'service',
    finding: /^Couldn't determine service/,
    of: () => true,
    because:
      'it knows HTTP, IMAP and the like by their greeting; the upstreams here speak nothing of the kind',
  },
  {
    id: 'cert_revocation',
    finding: /^Neither CRL nor OCSP URI provided$/,
    of: () => true,
    because: 'of a certificate, not of the server: the CAs of demo and tests publish nothing',
  },
  {
    id: 'sessionresumption_ticket',
    finding: /^check failed because of connect problem$/,
    of: () => true,
    because: 'its client often leaves before the tickets have come; gnutls-cli waits for them and resumes',
  },
  {
    id: 'secure_renego',
    finding: /^OpenSSL handshake didn't succeed$/,
    of: ({ needsName }) => needsName,
    because: 'it asks without a name, and is refused; scanners-see-mozillas-profile asks with one',
  },
  ...['secure_client_renego', 'BREACH'].map((id) => ({
    id,
    finding: /^client x509-based authentication prevents this from being tested$/,
    of: ({ client }: TlsListener) => client !== undefined,
    because: 'it has no client certificate; scanners-see-mozillas-profile has one',
  })),
];

const all = process.env['PENSTOCK_TESTSSL'] === 'all';

test('testssl.sh', async (t) => {
  const listeners = [await startStapled(t), ...(all ? await startDemo(t) : [])];
  for (const listener of listeners) await t.test(listener.name, (t) => look(t, listener));
});

async function look(t: TestContext, listener: TlsListener): Promise<void> {
  const findings = await scan(t, listener);
  const bad = findings.filter(({ severity }) => !['OK', 'INFO'].includes(severity));
  assert.deepEqual(
    bad.filter((finding) => !isExplained(finding, listener)),
    [],
  );
  const said = (id: string): string => findings.find((finding) => finding.id === id)?.finding ?? '(nothing)';
  const offered = { TLS1: 'TLSv1.0', TLS1_1: 'TLSv1.1', TLS1_2: 'TLSv1.2', TLS1_3: 'TLSv1.3' };
  const protocols = Object.entries(offered).filter(([id]) => said(id).startsWith('offered'));
  assert.deepEqual(
    protocols.map(([, name]) => name),
    intermediate.protocols,
  );
  for (const id of ['SSLv2', 'SSLv3', 'TLS1', 'TLS1_1']) assert.equal(said(id), 'not offered');
  assert.equal(said('cipher_order'), 'server');
  assert.equal(said('cipherorder_TLSv1_2'), tls12Suites(listener).join(' '));
  assert.equal(said('cipherorder_TLSv1_3'), intermediate.tls13.join(' '));
  const groups = said('PFS_ECDHE_curves').split(' ');
  assert.deepEqual(groups.sort(), groupsOf(listener).sort());
  assert.equal(said('DH_groups'), '(nothing)');
  assert.match(said('CRIME_TLS'), /^not vulnerable/);
  // Tickets are for clients that were let in, and it has no certificate to get in with.
  if (listener.client === undefined) assert.match(said('TLS_session_ticket'), /^valid for 7200 seconds only/);
  checkCertificates(findings, listener);
  // Of the last that it looks at: it came to its end.
  assert.match(said('RC4'), /^not vulnerable/);
}

/** With several, testssl.sh adds which it means to the id: `cert_keySize <cert#1>`. */
function checkCertificates(findings: readonly Finding[], { keys, stapled }: TlsListener): void {
  const said = (id: string) =>
    findings.filter((finding) => finding.id.split(' ')[0] === id).map(({ finding }) => finding);
  const sizes = keys.map((key) => `${key === 'ECDSA' ? 'EC' : key} ${intermediate.keys[key]} bits`);
  assert.deepEqual(said('cert_keySize').sort(), sizes.sort());
  for (const algorithm of said('cert_signatureAlgorithm')) assert.match(algorithm, /with SHA256/);
  assert.deepEqual(new Set(said('OCSP_stapling')), new Set([stapled ? 'offered' : 'not offered']));
}

function isExplained({ id, finding }: Finding, listener: TlsListener): boolean {
  return explained.some(
    (one) => one.id === id.split(' ')[0] && one.finding.test(finding) && one.of(listener),
  );
}

async function scan(t: TestContext, { port, sni, ca, starttls }: TlsListener): Promise<Finding[]> {
  const file = join(temporaryDirectory(t), 'findings.json');
  const args = ['--quiet', '--warnings', 'off', '--color', '0', '--jsonfile', file, '--add-ca', ca];
  // Protocols, suites, forward secrecy, preferences, defaults, vulnerabilities; without these, simulated clients besides.
  if (!all) args.push('-p', '-s', '-f', '-P', '-S', '-U');
  if (starttls) args.push('-t', starttls);
  // No look-ups: it is to speak to this address and nobody else.
  args.push('-n', 'none', '--ip', '127.0.0.1', `${sni}:${port}`);
  const { stdout, stderr } = await run('testssl', args);
  t.diagnostic(`${stdout.match(/^ Done .*?\[ *(\S+)\]/m)?.[1]} by testssl.sh`);
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new Error(`testssl.sh did not come to its end:\n${stdout}${stderr}`, { cause });
  }
}

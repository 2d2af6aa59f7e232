/** Certificates of servers, as `penstock probe` follows, judges and shows them. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describeFindings } from '../../../src/tools/probe/describe.ts';
import { followChain, judgeChain, parseCertificates } from '../../../src/tools/probe/engine/chain.ts';
import { noFindings, type Questions } from '../../../src/tools/probe/engine/findings.ts';
import { formatProbe } from '../../../src/tools/probe/text.ts';
import { isNamed } from '../../../src/x509/is-named.ts';
import { corpusFiles, derTokens, repairDer } from '../corpus.ts';
import type { Target } from '../target.ts';

const [authority = Buffer.alloc(0)] = corpusFiles('certificates', 'ca.der');
const anchors = [new X509Certificate(authority)];
const place = { host: '127.0.0.1', port: 443 };
const questions = { way: { place, starttls: undefined, timeoutMs: 1000 }, name: 'a.example' } as Questions;

export const target: Target = {
  name: 'server-certificate',
  seeds: () => corpusFiles('certificates', '.der'),
  tokens: derTokens,
  maxLength: 20_000,
  repair: repairDer,
  check(der) {
    const sent = parseCertificates(der.length % 2 === 0 ? [der, authority] : [der]);
    const [leaf] = sent;
    if (!leaf) return;
    const chain = followChain(sent, anchors);
    const findings = noFindings();
    findings.certificates.push({
      leaf,
      sent,
      chain,
      fault: judgeChain(chain),
      named: isNamed(leaf, 'a.example'),
    });
    const found = describeFindings('a.example:443', questions, findings);
    assert.match(JSON.stringify(found), /^[ -~]*$/, 'JSON with more than printable ASCII');
    assert.match(formatProbe(found, 'the CA'), /^[ -~\n’]*$/, 'text that a terminal could act on');
  },
};

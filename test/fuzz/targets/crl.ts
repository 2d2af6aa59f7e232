/** Revocation lists, which come to a file by way of the network. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readSubject } from '../../../src/config/material/der.ts';
import { createIssuers } from '../../../src/tls/client-auth/issuers.ts';
import { readRevocationList } from '../../../src/x509/revocation-list.ts';
import { corpusFiles, derTokens, repairDer } from '../corpus.ts';
import type { Target } from '../target.ts';

const leaf = new X509Certificate(corpusFiles('certificates', 'leaf.der')[0]!); // it is there

export const target: Target = {
  name: 'crl',
  seeds: () => corpusFiles('certificates', '.crl'),
  tokens: derTokens,
  maxLength: 20_000,
  repair: repairDer,
  check(der) {
    readSubject(der);
    const pem = `-----BEGIN X509 CRL-----\n${der.toString('base64')}\n-----END X509 CRL-----\n`;
    const list = readRevocationList(pem);
    if (list === undefined) return;
    assert.ok(list.nextUpdate === Number.POSITIVE_INFINITY || Number.isFinite(list.nextUpdate));
    assert.ok(list.serials()?.every((serial) => /^[0-9A-F]*$/.test(serial)) ?? true);
    // What is served with was read whole at the start; this is asked later, and must answer.
    createIssuers({ certificates: [leaf], crl: [pem] }).isRevoked(leaf);
  },
};

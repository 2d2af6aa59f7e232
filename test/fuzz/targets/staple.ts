/** OCSP responses, which come to a file by way of the network. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readStaple } from '../../../src/config/material/ocsp.ts';
import { corpusFiles, derTokens, repairDer } from '../corpus.ts';
import type { Target } from '../target.ts';

const leaf = new X509Certificate(corpusFiles('certificates', 'leaf.der')[0]!); // it is there

export const target: Target = {
  name: 'staple',
  seeds: () => corpusFiles('certificates', '.ocsp'),
  tokens: derTokens,
  maxLength: 20_000,
  repair: repairDer,
  check(der) {
    const read = readStaple(der, leaf);
    if (typeof read === 'string') assert.match(read, /^(?:is|says|does not say|cannot be parsed) [ -~]+$/);
    else assert.ok(Number.isFinite(read.thisUpdate) && Number.isFinite(read.nextUpdate));
  },
};

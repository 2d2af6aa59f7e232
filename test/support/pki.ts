/** A development CA in a temporary directory, made and used by the commands of `penstock pki`. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { parse } from 'yaml';
import { pkiConfig, pkiInit, pkiIssue, pkiList, pkiRevoke } from '../../src/tools/pki/command.ts';
import { temporaryDirectory } from './certificates.ts';

type IssueOptions = Parameters<typeof pkiIssue>[2];

/** A CA in a new directory, and the commands on it, which here must succeed and return what they said. */
export async function newPki(t: Pick<TestContext, 'after'>) {
  const dir = join(temporaryDirectory(t), 'pki');
  const output = {
    said: '',
    faults: '',
    out(text: string) {
      output.said += text;
    },
    err(text: string) {
      output.faults += text;
    },
  };
  const succeed = async (run: () => Promise<number>): Promise<string> => {
    output.said = '';
    assert.equal(await run(), 0, output.faults);
    return output.said;
  };
  await succeed(() => pkiInit(dir, {}, output));
  const pki = {
    issue: (name: string, options?: IssueOptions) => succeed(() => pkiIssue(dir, name, options, output)),
    revoke: (name: string, options?: Parameters<typeof pkiRevoke>[2]) =>
      succeed(() => pkiRevoke(dir, name, options, output)),
    list: () => succeed(() => pkiList(dir, output)),
    config: (options?: Parameters<typeof pkiConfig>[1]) => succeed(() => pkiConfig(dir, options, output)),
  };
  const certificate = (name: string) => new X509Certificate(readFileSync(join(dir, `${name}.crt`)));
  return { pki, dir, output, certificate };
}

/** The blocks of YAML among the words. */
export function yamlIn(text: string): unknown[] {
  return text
    .split(/\n\n/)
    .filter((block) => /^\w+:\n/.test(block))
    .map((block) => parse(block));
}

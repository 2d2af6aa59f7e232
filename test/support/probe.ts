/** `penstock probe` within the test's own process, with flags as the command line would give them. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describeFindings, type ProbeDescription } from '../../src/tools/probe/describe.ts';
import { survey } from '../../src/tools/probe/engine/survey.ts';
import type { ProbeFlags } from '../../src/tools/probe/flags.ts';
import { questionsFor } from '../../src/tools/probe/questions.ts';
import { temporaryDirectory, writeFiles } from './certificates.ts';

/** Rejects with the Failure or UsageError that the command would tell of. */
export async function probeTarget(
  target: string,
  flags: Partial<ProbeFlags> = {},
): Promise<ProbeDescription> {
  const questions = await questionsFor(target, withDefaults(flags));
  return describeFindings(target, questions, await survey(questions));
}

/** As commander fills them in; no test has to trust the system's roots. */
export function withDefaults(flags: Partial<ProbeFlags>): ProbeFlags {
  return { ca: 'system', timeout: 5000, connections: 100, ...flags };
}

/** Writes the texts to files that are removed after the test. */
export function pathsOf<Name extends string>(
  t: Pick<TestContext, 'after'>,
  texts: Readonly<Record<Name, string>>,
): Record<Name, string> {
  const directory = join(temporaryDirectory(t));
  return writeFiles(directory, texts);
}

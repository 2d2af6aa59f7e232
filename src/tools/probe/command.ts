/** `penstock probe`: what a TLS endpoint offers, asked by a few dozen connections at most. */

import { UsageError } from '../terminal/usage.ts';
import { describeFindings } from './describe.ts';
import { Failure } from './engine/failure.ts';
import { survey } from './engine/survey.ts';
import type { ProbeFlags } from './flags.ts';
import { questionsFor } from './questions.ts';
import { formatProbe } from './text.ts';
import { yamlFor } from './yaml.ts';

/**
 * Prints what it found as a table, as one JSON object, or as a configuration (stdout). Resolves to the exit code: 0; 1 if
 * the endpoint cannot be reached, speaks no TLS, or is none that penstock could have for an upstream (`yaml`); 2 for a
 * command line that cannot be followed.
 */
export async function probe(target: string, flags: ProbeFlags): Promise<number> {
  try {
    const questions = await questionsFor(target, flags);
    const found = describeFindings(target, questions, await survey(questions));
    if (flags.yaml) return printYaml(yamlFor(found, flags));
    const trusted = flags.ca === 'system' ? 'the system’s roots' : flags.ca;
    process.stdout.write(
      flags.json ? `${JSON.stringify({ ok: true, ...found }, null, 2)}\n` : formatProbe(found, trusted),
    );
    return 0;
  } catch (error) {
    if (error instanceof UsageError) {
      tell(error.message);
      return 2;
    }
    if (!(error instanceof Failure)) throw error;
    const { kind, message, hint = null, alert = null } = error;
    if (flags.json)
      process.stdout.write(`${JSON.stringify({ ok: false, target, kind, message, alert, hint }, null, 2)}\n`);
    else tell(`${target}: ${message}${hint === null ? '' : `; ${hint}`}`);
    return 1;
  }
}

function printYaml(result: ReturnType<typeof yamlFor>): number {
  if ('yaml' in result) {
    process.stdout.write(result.yaml);
    return 0;
  }
  tell(result.reason);
  return 1;
}

function tell(line: string): void {
  process.stderr.write(`penstock: ${line}\n`);
}

/** `penstock probe`: finds out what a TLS endpoint offers, with at most a few dozen connections. */

import { UsageError } from '../terminal/usage.ts';
import { describeFindings } from './describe.ts';
import { Failure } from './engine/failure.ts';
import { survey } from './engine/survey.ts';
import type { ProbeFlags } from './flags.ts';
import { questionsFor } from './questions.ts';
import { formatProbe } from './text.ts';
import { yamlFor } from './yaml.ts';

/**
 * Prints the findings to stdout, as a table, one JSON object, or a configuration. Resolves with the exit
 * code: 0; 1 if the endpoint cannot be reached, speaks no TLS, or (with `yaml`) cannot be an upstream of
 * penstock; 2 for an invalid command line.
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

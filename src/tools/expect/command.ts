/** `penstock test`: checks whether a configuration treats clients as a file of expectations says. */
import { ConfigError, formatFinding } from '../../config/load.ts';
import { createExplainer } from '../explain/explanation.ts';
import { type Load, loadOrTell } from '../terminal/load-or-tell.ts';
import { type Cases, loadCases } from './cases.ts';
import { type CaseOutcome, judge } from './outcome.ts';
import { formatReport, jsonReport, junitReport, type Report, untestedRoutes } from './report.ts';

type TestOptions = {
  readonly config?: string;
  readonly json?: boolean;
  readonly junit?: boolean;
  /** False: private keys are not read, and no handshake is rehearsed. */
  readonly keys?: boolean;
  /** Loads the configuration; absent: the file alone. */
  readonly load?: Load | undefined;
};

/**
 * Prints a line for each failed expectation, and a summary; with `json` one object, with `junit` XML. Binds
 * and dials nothing. Resolves with the exit code: 0; 1 if an expectation failed; 2 for bad usage, or for
 * faults in the configuration or a case file, all of which go to stderr.
 */
export async function test(files: readonly string[], options: TestOptions): Promise<number> {
  if (options.json && options.junit) {
    process.stderr.write('error: --json and --junit exclude each other\n');
    return 2;
  }
  const loaded = await loadOrTell(options.config, options);
  if (loaded === undefined) return 2;
  const all: Cases[] = [];
  let faulty = false;
  for (const file of files) {
    try {
      all.push(await loadCases(file, loaded));
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      for (const finding of error.findings) process.stderr.write(`${formatFinding(finding)}\n`);
      faulty = true;
    }
  }
  if (faulty) return 2;
  const explainer = createExplainer(loaded, { rehearses: options.keys !== false });
  const judged: { file: string; outcomes: CaseOutcome[] }[] = [];
  for (const { file, cases } of all) {
    const outcomes: CaseOutcome[] = [];
    for (const one of cases) outcomes.push(judge(one, await explainer.explain(one.listener, one.client)));
    judged.push({ file, outcomes });
  }
  await explainer.close();
  const outcomes = judged.flatMap((one) => one.outcomes);
  process.stdout.write(
    textOf({ files: judged, untested: untestedRoutes(loaded.config.listeners, outcomes) }, options),
  );
  return outcomes.every(({ misses }) => misses.length === 0) ? 0 : 1;
}

function textOf(report: Report, { json, junit }: TestOptions): string {
  if (json) return `${JSON.stringify(jsonReport(report), null, 2)}\n`;
  return junit ? junitReport(report) : formatReport(report);
}

/** Reports the results of the cases, for people and for programs. */
import type { ListenerConfig } from '../../config/schema/schema.ts';
import { labelOf } from '../explain/reasons.ts';
import { counted, harmless } from '../terminal/text.ts';
import type { CaseOutcome, Miss } from './outcome.ts';

/** The results of one run. `untested` has the routes, by listener, that no case takes. */
export type Report = {
  readonly files: readonly { readonly file: string; readonly outcomes: readonly CaseOutcome[] }[];
  readonly untested: Readonly<Record<string, readonly string[]>>;
};

/** The routes of all listeners that no outcome takes. */
export function untestedRoutes(
  listeners: Readonly<Record<string, ListenerConfig>>,
  outcomes: readonly CaseOutcome[],
): Report['untested'] {
  const taken = new Set(outcomes.map(({ listener, facts }) => `${listener} ${facts.route}`));
  const untested = Object.entries(listeners).map(([name, { routes }]): [string, string[]] => [
    name,
    routes.map((_, index) => labelOf(routes, index)).filter((label) => !taken.has(`${name} ${label}`)),
  ]);
  return Object.fromEntries(untested.filter(([, labels]) => labels.length > 0));
}

/** A line for each failed expectation, then a summary. */
export function formatReport({ files, untested }: Report): string {
  const lines = files.flatMap(({ file, outcomes }) =>
    outcomes.flatMap((outcome) => outcome.misses.map((miss) => formatMiss(file, outcome.name, miss))),
  );
  const outcomes = files.flatMap((one) => one.outcomes);
  const failed = outcomes.filter(({ misses }) => misses.length > 0).length;
  const count = counted(outcomes.length, 'case');
  const summary = failed === 0 ? `${count}, all as expected` : `${count}, ${failed} not as expected`;
  const left = Object.entries(untested).map(([listener, labels]) => `${listener} ${listed(labels)}`);
  return [...lines, summary, ...(left.length === 0 ? [] : [`no case takes these routes: ${left.join('; ')}`])]
    .map((line) => `${harmless(line)}\n`)
    .join('');
}

function listed(labels: readonly string[]): string {
  return labels.length > 8
    ? `${labels.slice(0, 8).join(', ')} and ${labels.length - 8} more`
    : labels.join(', ');
}

function formatMiss(file: string, name: string, { key, line, column, expected, actual, why }: Miss): string {
  const what = key === undefined ? '' : ` ${key}: expected ${expected}, is ${actual}`;
  return `${file}:${line}:${column} (${name})${what}${why === null ? '' : `${key === undefined ? ': ' : '; '}${why}`}`;
}

/** The report as one object, for `--json`. */
export function jsonReport({ files, untested }: Report): object {
  const cases = files.flatMap(({ file, outcomes }) =>
    outcomes.map(({ name, listener, line, column, facts, misses }) => ({
      file,
      line,
      column,
      name,
      listener,
      ok: misses.length === 0,
      actual: facts,
      misses: misses.map((miss) => ({ ...miss, key: miss.key ?? null })),
    })),
  );
  const failed = cases.filter(({ ok }) => !ok).length;
  return { ok: failed === 0, total: cases.length, failed, cases, untested };
}

/** The report as XML, for CI servers. */
export function junitReport({ files }: Report): string {
  const suites = files.map(({ file, outcomes }) => {
    const failed = outcomes.filter(({ misses }) => misses.length > 0).length;
    const cases = outcomes.map((outcome) => junitCase(file, outcome)).join('');
    return `  <testsuite name="${inXml(file)}" tests="${outcomes.length}" failures="${failed}">\n${cases}  </testsuite>\n`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join('')}</testsuites>\n`;
}

function junitCase(file: string, { name, listener, line, misses }: CaseOutcome): string {
  const head = `    <testcase name="${inXml(name)}" classname="${inXml(listener)}" file="${inXml(file)}" line="${line}"`;
  if (misses.length === 0) return `${head}/>\n`;
  const lines = misses.map((miss) => inXml(formatMiss(file, name, miss)));
  return `${head}>\n      <failure message="${lines[0]}">${lines.join('\n')}</failure>\n    </testcase>\n`;
}

function inXml(text: string): string {
  return harmless(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

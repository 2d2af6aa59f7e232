/** Options that are read and checked, but not acted on yet. An entry goes when its option works. */
import type { Path, Report } from './finding.ts';

/** `*` is any key or index; a value of `inert` asks for nothing, so nothing is said of it. */
const notYet: readonly { readonly option: string; readonly inert?: readonly unknown[] }[] = [
  { option: 'certificates.*.ocsp' },
  { option: 'certificates.*.pairs.*.ocsp' },
];

/** Warns once of each such option that the file sets, at the first place. Takes the file's values as they are written. */
export function warnOfNotYet(raw: unknown, report: Report): void {
  for (const { option, inert = [] } of notYet) {
    const path = firstSet(raw, option.split('.'), [], inert);
    if (path) report.warn(path, 'not acted on yet in this version');
  }
}

function firstSet(
  value: unknown,
  steps: readonly string[],
  path: Path,
  inert: readonly unknown[],
): Path | undefined {
  const [step, ...rest] = steps;
  if (step === undefined) return inert.includes(value) ? undefined : path;
  if (typeof value !== 'object' || value === null) return undefined;
  const keys = step === '*' ? Object.keys(value) : Object.hasOwn(value, step) ? [step] : [];
  for (const key of keys) {
    const inner = (value as Record<string, unknown>)[key];
    const found = firstSet(inner, rest, [...path, Array.isArray(value) ? Number(key) : key], inert);
    if (found) return found;
  }
  return undefined;
}

/** A fault or warning in the configuration: where it is, what it is, and how to fix it. */
import { oneLine } from '../net/one-line.ts';

/** The steps from the root of the file to a value: keys and list indexes. */
export type Path = readonly (string | number)[];

/** `line` and `column` count from 1; line 0 stands for the file as a whole. `path` is '' at the root. */
export type Finding = {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly message: string;
  readonly hint?: string;
};

/** Collects what checks find. Paths are those of the parsed configuration. */
export type Report = {
  /** Something in the file is wrong: the configuration is refused. */
  fault(path: Path, message: string, hint?: string): void;
  /** Something is missing at `path`. Dropped if a fault beside it already explains the absence. */
  lack(path: Path, message: string, hint?: string): void;
  /** Does not prevent the start, but the author would want to know. */
  warn(path: Path, message: string, hint?: string): void;
  /** What was found may be another at that time, in ms since 1970. */
  holdsUntil?(time: number): void;
};

/** All faults of a configuration at once, sorted by position. */
export class ConfigError extends Error {
  readonly code = 'ERR_CONFIG';
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[]) {
    super(findings.map(formatFinding).join('\n'));
    this.name = 'ConfigError';
    this.findings = findings;
  }
}

/**
 * One line: `penstock.yaml:14:19 listeners.databases.routes[0].upstream: no upstream is called "order"; …`.
 */
export function formatFinding({ file, line, column, path, message, hint }: Finding): string {
  const place = line === 0 ? file : `${file}:${line}:${column}`;
  const text = `${place}${path && ` ${path}`}: ${message}${hint ? `; ${hint}` : ''}`;
  // Messages quote keys and values of the file, which may contain anything.
  return oneLine(text);
}

/** The same for what does not prevent the start. */
export function formatWarning(finding: Finding): string {
  return formatFinding({ ...finding, message: `warning: ${finding.message}` });
}

/** Why a configuration could not be loaded, one fault per line. */
export function describeFaults(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.findings.map(formatFinding);
  return [error instanceof Error ? error.message : String(error)];
}

/** `listeners.databases.routes[0].upstream`; a key that would be misread in that form is quoted. */
export function formatPath(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === 'number') return `[${step}]`;
      if (!/^[\w-]+$/.test(step)) return `[${JSON.stringify(step)}]`;
      return index === 0 ? step : `.${step}`;
    })
    .join('');
}

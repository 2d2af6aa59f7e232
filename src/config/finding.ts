/** A fault or a warning of the configuration: where it is, what it is, and the way out. */
import { oneLine } from '../net/one-line.ts';

/** The steps from the root of the file to a value: keys, and indexes of lists. */
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

/** Where checks put what they find. Paths are those of the parsed configuration. */
export type Report = {
  /** Something written is wrong: the configuration is refused. */
  fault(path: Path, message: string, hint?: string): void;
  /** Something is not written at `path`. Dropped where a fault just beside it explains the absence already. */
  lack(path: Path, message: string, hint?: string): void;
  /** Something that starts, and that its author would want to know. */
  warn(path: Path, message: string, hint?: string): void;
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

/** One line: `penstock.yaml:14:19 listeners.databases.routes[0].upstream: no upstream is called "order"; …`. */
export function formatFinding({ file, line, column, path, message, hint }: Finding): string {
  const place = line === 0 ? file : `${file}:${line}:${column}`;
  const text = `${place}${path && ` ${path}`}: ${message}${hint ? `; ${hint}` : ''}`;
  // Keys and values of the file stand in messages, and may hold anything.
  return oneLine(text);
}

/** Why a configuration could not be loaded, one fault a line. */
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

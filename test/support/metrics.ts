/** Metrics as Prometheus reads them, and the facts that a supervisor would add. */
import type { SupervisorFacts } from '../../src/observe/families.ts';

export type Sample = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
};

/** The samples of the text format. Throws on a line that is none. */
export function parseMetrics(text: string): Sample[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', labels = '', value = ''] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (name === '' || Number.isNaN(Number(value))) throw new Error(`not a sample: ${line}`);
      const pairs = [...labels.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)];
      return {
        name,
        labels: Object.fromEntries(pairs.map(([, key, text]) => [key, text])),
        value: Number(value),
      };
    });
}

/** Facts of a supervisor about which nothing else is known. */
export function factsOf(known: Partial<SupervisorFacts> = {}): SupervisorFacts {
  return {
    ready: true,
    listeners: [],
    endpoints: [],
    certificates: [],
    authorities: [],
    crls: [],
    reloads: { success: 0, failure: 0, lastSuccess: new Date('2026-11-02T08:00:00Z'), lastOk: true },
    workerCrashes: 0,
    ...known,
  };
}

/** The long turns of an event loop, as probe.ts notes them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** In ms. Where other programs take the core away a turn takes longer, but no CPU time. */
export type Turn = {
  readonly role: 'supervisor' | 'worker';
  /** When it ended, as `Date.now()`. */
  readonly at: number;
  readonly wall: number;
  readonly cpu: number;
  readonly collections: readonly Collection[];
};

/** What V8 collected; `at` by `performance.now()` of that process. */
export type Collection = { readonly kind: string; readonly at: number; readonly ms: number };

/** Those noted in a directory so far. */
export function readTurns(directory: string): Turn[] {
  return readFileSync(join(directory, 'turns'), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Turn);
}

export function describeTurn({ wall, cpu, collections }: Turn): string {
  const ran = collections.filter(({ ms }) => ms >= 0.1).map(({ kind, ms }) => `${kind} ${ms.toFixed(1)}`);
  return `${cpu.toFixed(1)} ms of CPU in ${wall.toFixed(1)}: ${ran.join(', ') || 'no collection'}`;
}

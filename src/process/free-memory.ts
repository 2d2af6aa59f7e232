/**
 * One full garbage collection, for a process that has just started: modules were compiled, configurations parsed, and what is left
 * of that is a third of its memory, which V8 would keep until there is enough to do. It takes about 10 ms, so only while nobody waits.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export function freeMemory(): void {
  // Bun and Deno have other ways.
  if (!isNode) return;
  // V8 gives the function to contexts that are made from then on.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as ((options: object) => void) | undefined;
  setFlagsFromString('--no-expose-gc');
  collect?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

const isNode = !('bun' in process.versions || 'deno' in process.versions);

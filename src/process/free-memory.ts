/**
 * A full garbage collection for a process that has just started. Loading modules and reading a configuration
 * leave a heap that is half empty, and V8 gives its pages back only in the most thorough kind of collection.
 * That takes 20 to 40 ms, so it is for moments in which nobody waits. Not for workers: after it a full
 * handshake costs a tenth more (see "At rest" in docs/performance.md).
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * Does nothing if more than `most` bytes of the heap are in use. A `regular` collection takes less time; it
 * gives back large lists and the memory of Buffers, but few pages of small objects.
 */
export function freeMemory(most = largeHeap, flavor: 'last-resort' | 'regular' = 'last-resort'): void {
  // Bun and Deno have other ways.
  if (!isNode || getHeapStatistics().used_heap_size > most) return;
  // V8 gives the function to contexts that are made from then on.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as ((options: object) => void) | undefined;
  setFlagsFromString('--no-expose-gc');
  collect?.({ type: 'major', execution: 'sync', flavor });
}

/** Beyond this the pause would be as long as a large configuration is, for a smaller share of the memory. */
const largeHeap = 64 * 2 ** 20;

const isNode = !('bun' in process.versions || 'deno' in process.versions);

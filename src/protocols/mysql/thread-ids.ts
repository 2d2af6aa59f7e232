/**
 * Thread ids of our own, for clients that are greeted before their server is known. Those of servers count
 * from 1 at each, so a second server would know another session by the same id.
 */
import cluster from 'node:cluster';

/**
 * 0b01, 8 bits for the worker, 22 that count: unique on this machine, and positive for clients that read
 * signed numbers. A server would have to accept a billion connections to give out such an id.
 */
const ours = 1 << 30;
const worker = ((cluster.worker?.id ?? 0) & 0xff) << 22;
const counted = (1 << 22) - 1;

const taken = new Set<number>();
let count = 0;

export function nextThreadId(): number {
  do count = (count + 1) & counted;
  while (taken.has(ours | worker | count));
  return ours | worker | count;
}

/** Keeps an id from being given out again, until the returned function is called. */
export function keepThreadId(id: number): () => void {
  taken.add(id);
  return () => void taken.delete(id);
}

export function isThreadIdOfOurs(id: number): boolean {
  return id >= ours && id < 2 * ours;
}

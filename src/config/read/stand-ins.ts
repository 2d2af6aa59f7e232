/**
 * Values that replace a missing required key, so that its neighbours are checked in the same run. They are
 * valid, so that no check complains about them.
 */
import { randomUUID } from 'node:crypto';

const noSuchPath = () => `/${randomUUID()}`;

/** A file that cannot exist: it is not read, and its absence is not reported. */
export const standInFile = noSuchPath();

const standIns = new Map<string, () => unknown>([
  ['listeners', () => ({})],
  // Port 0 means any free port, so it collides with no other address.
  ['bind', () => '127.0.0.1:0'],
  ['path', noSuchPath],
  ['routes', () => [{ deny: true }]],
  ['certificates', () => 'none'],
  ['endpoints', () => ['127.0.0.1:1']],
  ['cert', () => standInFile],
  ['key', () => standInFile],
  ['ca', () => standInFile],
]);

/**
 * A new stand-in for this key; undefined if it has none, so that the mapping without it cannot be checked.
 */
export function standInFor(key: string): unknown {
  return standIns.get(key)?.();
}

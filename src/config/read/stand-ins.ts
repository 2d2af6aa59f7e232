/**
 * What takes the place of a required key that is missing, so that its neighbours are checked in the same run. It is valid by
 * itself, so that no check finds fault with it.
 */
import { randomUUID } from 'node:crypto';

const noSuchPath = () => `/${randomUUID()}`;

/** A file that nobody has: it is not read, and not missed. */
export const standInFile = noSuchPath();

const standIns = new Map<string, () => unknown>([
  ['listeners', () => ({})],
  // Any free port, so that it collides with no address.
  ['bind', () => '127.0.0.1:0'],
  ['path', noSuchPath],
  ['routes', () => [{ deny: true }]],
  ['certificates', () => 'none'],
  ['endpoints', () => ['127.0.0.1:1']],
  ['cert', () => standInFile],
  ['key', () => standInFile],
  ['ca', () => standInFile],
]);

/** One for this key, made anew; undefined where there is none, and what lacks the key cannot be checked. */
export function standInFor(key: string): unknown {
  return standIns.get(key)?.();
}

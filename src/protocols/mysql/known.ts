/**
 * What a listener's clients are greeted with: what its servers have said of themselves so far, because
 * clients go by the version that they read, and may use only what every server has.
 */
import { can, common } from './capabilities.ts';
import type { ServerGreeting } from './greeting.ts';

export type Known = Pick<ServerGreeting, 'version' | 'capabilities'>;

/** `listener` is an object that its clients have in common. */
export function knownOf(listener: object): Known {
  return learned.get(listener) ?? { version: '8.0.11-penstock', capabilities: common };
}

export function learn(listener: object, { version, capabilities }: ServerGreeting): void {
  const known = knownOf(listener);
  const kept = capabilities | can.longPassword | can.ssl;
  learned.set(listener, { version, capabilities: known.capabilities & kept });
}

const learned = new WeakMap<object, Known>();

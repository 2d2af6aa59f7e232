/** Looks up listeners by the names that users give. */
import type { LoadedConfig } from '../../config/load.ts';
import { suggest } from '../../config/rules/near-miss.ts';
import { UsageError } from '../terminal/usage.ts';

/**
 * Returns the name if there is such a listener, or without a name the only one that there is; otherwise
 * throws a UsageError that lists the existing ones.
 */
export function knownListener({ config: { listeners } }: LoadedConfig, name: string | undefined): string {
  if (name !== undefined && Object.hasOwn(listeners, name)) return name;
  const names = Object.keys(listeners);
  if (name === undefined) {
    if (names.length === 1) return String(names[0]);
    throw new UsageError(`required option '--listener <name>' not specified; there are: ${names.join(', ')}`);
  }
  const hint = suggest(name, names, 'there are');
  throw new UsageError(`no listener is called "${name}"${hint === undefined ? '' : `; ${hint}`}`);
}

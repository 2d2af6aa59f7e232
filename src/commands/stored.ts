/** What `--stored` means: the configuration has what etcd, or the store of an Admin API, holds now. */
import { Option } from 'commander';
import type { LoadedConfig } from '../config/load.ts';

export const storedOption = new Option(
  '--stored',
  'with the objects that etcd or the store of the Admin API holds now',
).conflicts('keys');

/** undefined: the file alone counts. */
export function loaderFor({
  stored,
}: {
  readonly stored?: boolean;
}): ((file: string) => Promise<LoadedConfig>) | undefined {
  return stored ? async (file) => (await import('../cluster/stored.ts')).loadStored(file) : undefined;
}

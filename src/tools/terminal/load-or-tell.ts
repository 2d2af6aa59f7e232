/** Loads the configuration for a command. */
import { ConfigError, describeFaults } from '../../config/finding.ts';
import type { LoadedConfig } from '../../config/load.ts';
import { loadConfig } from '../../config/sources/file.ts';
import { findConfigFile } from '../../config/sources/find-file.ts';

export type Load = (file: string) => Promise<LoadedConfig>;

/**
 * Loads the configuration, or prints every fault on stderr and returns undefined. Without `keys`, private
 * keys are neither read nor checked. `load` loads more than the file, keys included.
 */
export function loadOrTell(
  file: string | undefined,
  { keys = true, load }: { keys?: boolean | undefined; load?: Load | undefined } = {},
): Promise<LoadedConfig | undefined> {
  const loadFile: Load = (found) => loadConfig(found, process.env, { withoutSecrets: !keys });
  return orTell(async () => (load ?? loadFile)(await findConfigFile(file)));
}

/**
 * Resolves like `load`, or with undefined if it rejects with a ConfigError, after printing every fault on
 * stderr.
 */
export async function orTell<T>(load: () => Promise<T>): Promise<T | undefined> {
  try {
    return await load();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const fault of describeFaults(error)) process.stderr.write(`${fault}\n`);
    return undefined;
  }
}

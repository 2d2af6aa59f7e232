/** The configuration that a command is about. */
import { ConfigError, describeFaults } from '../../config/finding.ts';
import type { LoadedConfig } from '../../config/load.ts';
import { findConfigFile, loadConfig } from '../../config/sources/file.ts';

/** Loads the configuration, or tells every fault on stderr and answers undefined. */
export function loadOrTell(file: string | undefined): Promise<LoadedConfig | undefined> {
  return orTell(async () => loadConfig(await findConfigFile(file)));
}

/** What `load` resolves with, or undefined where it rejects with a ConfigError, once every fault is printed on stderr. */
export async function orTell<T>(load: () => Promise<T>): Promise<T | undefined> {
  try {
    return await load();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const fault of describeFaults(error)) process.stderr.write(`${fault}\n`);
    return undefined;
  }
}

/** The configuration that a command is about. */
import {
  ConfigError,
  findConfigFile,
  formatFinding,
  type LoadedConfig,
  loadConfig,
} from '../../config/load.ts';

/** Loads the configuration, or tells every fault on stderr and answers undefined. */
export async function loadOrTell(file: string | undefined): Promise<LoadedConfig | undefined> {
  try {
    return await loadConfig(await findConfigFile(file));
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const finding of error.findings) process.stderr.write(`${formatFinding(finding)}\n`);
    return undefined;
  }
}

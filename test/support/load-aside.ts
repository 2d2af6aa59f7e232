/** Loads a configuration as a reload does, in a process of its own: `load-aside.ts FILE`. It prints the names of its listeners. */
import { loadAside } from '../../src/config/load-aside.ts';
import { readConfigFile } from '../../src/config/sources/file.ts';

const { config } = await loadAside(await readConfigFile(process.argv[2] ?? ''));
process.stdout.write(Object.keys(config.listeners).join());

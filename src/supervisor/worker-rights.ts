/**
 * What worker processes may do under `restrict_workers`: Node's permission model, which a process cannot
 * leave.
 */
import { existsSync, realpathSync } from 'node:fs';
import { isLogFile } from '../config/log-destination.ts';
import type { Config } from '../config/schema/schema.ts';
import { bundledVersion, isExecutable, packageDirectory } from '../process/own-files.ts';

/**
 * The additional Node flags that workers start with; none without `restrict_workers`. Workers may use the
 * network, read penstock's own code and the system's information about the process itself, and write the log
 * (and `tls_keys`): no process, no thread, no native code, no other file. Loading has refused a Node without
 * a permission model.
 */
export function rightsOf({
  restrict_workers,
  log,
}: Pick<Config, 'restrict_workers' | 'log'>): readonly string[] {
  if (!restrict_workers) return [];
  const known = (flag: string) => process.allowedNodeEnvironmentFlags.has(flag);
  const written = [
    ...(isLogFile(log.destination) ? [log.destination] : []),
    ...(log.tls_keys ? [log.tls_keys] : []),
  ];
  return [
    '--permission',
    // Before Node 25 the network needs no permission.
    ...(known('--allow-net') ? ['--allow-net'] : []),
    // `/proc/self` is for the limit of open files.
    ...['/proc/self', ...codeDirectories()].map((path) => `--allow-fs-read=${path}`),
    ...written.map((path) => `--allow-fs-write=${path}`),
    // Node warns of these very flags, in each worker.
    '--disable-warning=ExperimentalWarning',
  ];
}

/** The code that runs in a worker, with links resolved. */
function codeDirectories(): readonly string[] {
  if (isExecutable) return [];
  const own = realOf(packageDirectory());
  if (bundledVersion !== undefined) return [own];
  return [own, realOf(`${own}/node_modules`)];
}

/** The path itself if nothing is there, for example while the package is being replaced. */
function realOf(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

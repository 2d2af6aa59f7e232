/** What worker processes may do, with `restrict_workers`: Node's permission model, which a process cannot leave again. */
import { existsSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config/schema/schema.ts';

/**
 * The flags of Node that workers are started with, besides the usual ones; none without `restrict_workers`. They may use the
 * network, read penstock's own code and what the system says about the process itself, and write the log (and `tls_keys`): no
 * process, no thread, no native code, no other file. Loading has refused a Node that has no permission model.
 */
export function rightsOf({
  restrict_workers,
  log,
}: Pick<Config, 'restrict_workers' | 'log'>): readonly string[] {
  if (!restrict_workers) return [];
  const known = (flag: string) => process.allowedNodeEnvironmentFlags.has(flag);
  const isFile = !['stdout', 'stderr'].includes(log.destination);
  const written = [...(isFile ? [log.destination] : []), ...(log.tls_keys ? [log.tls_keys] : [])];
  return [
    '--permission',
    // Before Node 25 the network is no permission.
    ...(known('--allow-net') ? ['--allow-net'] : []),
    // For the limit of open files.
    ...['/proc/self', ...codeDirectories()].map((path) => `--allow-fs-read=${path}`),
    ...written.map((path) => `--allow-fs-write=${path}`),
    // Node warns of these very flags, in each worker.
    '--disable-warning=ExperimentalWarning',
  ];
}

/** The package, and the packages beside or above it that it imports, wherever links lead. */
function codeDirectories(): readonly string[] {
  const own = realOf(fileURLToPath(new URL('../..', import.meta.url)));
  const [above, ...inside] = own.split('/node_modules/');
  return [own, inside.length > 0 ? `${above}/node_modules` : realOf(`${own}/node_modules`)];
}

/** As it is where there is nothing: while the package is being replaced, say. */
function realOf(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

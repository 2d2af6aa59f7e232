/** What the commands share: the machine's file, the etcd that it names, and the state there. */
import { type Base, parseBase } from '../../cluster/compose.ts';
import { type Cluster, openCluster } from '../../cluster/connect.ts';
import {
  type Held,
  loadState,
  type Objects,
  type StateMemory,
  type Stored,
} from '../../cluster/load-state.ts';
import { ConfigError } from '../../config/finding.ts';
import { loadText } from '../../config/load.ts';
import { readConfigFile } from '../../config/sources/file.ts';
import { findConfigFile } from '../../config/sources/find-file.ts';
import { ProxyError } from '../../errors.ts';
import { orTell } from '../terminal/load-or-tell.ts';

export type ClusterOptions = { readonly config?: string };

export type Session = { readonly cluster: Cluster; readonly base: Base };

/** The objects in etcd, and the revision at which they were read. */
export type Present = {
  readonly revision: number;
  readonly objects: Objects;
  readonly hasFormat: boolean;
  /** Somebody is writing a change of several transactions, of which a part may be here. */
  readonly isHeld: boolean;
};

/**
 * Runs a command against the cluster that the configuration names. Prints faults to stderr: 2 for those of
 * files, 1 for those of etcd.
 */
export async function withCluster(
  { config }: ClusterOptions,
  work: (session: Session) => Promise<number>,
): Promise<number> {
  let session: Session | undefined;
  const code = await orTell(async () => {
    session = await open(config);
    return work(session);
  }).catch((error: unknown) => {
    if (!(error instanceof ProxyError)) throw error;
    process.stderr.write(`penstock: ${error.message}${error.hint ? `; ${error.hint}` : ''}\n`);
    return 1;
  });
  session?.cluster.etcd.close();
  return code ?? 2;
}

async function open(option: string | undefined): Promise<Session> {
  const text = await readConfigFile(await findConfigFile(option));
  const loaded = await loadText(text);
  const { cluster } = loaded.config;
  if (cluster === undefined) {
    const message = 'this configuration has no `cluster`';
    throw new ConfigError([
      { file: text.name, line: 0, column: 0, path: '', message, hint: 'name another with -c' },
    ]);
  }
  return { cluster: await openCluster(loaded, cluster), base: parseBase(text) };
}

export async function readPresent({ etcd, keys }: Cluster): Promise<Present> {
  const { revision, entries } = await etcd.range(keys.root);
  const objects = new Map<string, Stored>();
  for (const { key, value, modRevision } of entries) {
    if (!key.startsWith(keys.config)) continue;
    objects.set(key.slice(keys.config.length), { text: value.toString(), revision: modRevision });
  }
  const has = (wanted: string) => entries.some(({ key }) => key === wanted);
  return { revision, objects, hasFormat: has(keys.format), isHeld: has(keys.hold) };
}

/** What a machine with this file would hold back. */
export async function heldOf(
  { cluster, base }: Session,
  objects: Objects,
  lastValid: Objects,
  memory: StateMemory,
): Promise<readonly Held[]> {
  const { keys, seal, config } = cluster;
  const context = { seal, modules: config.modules };
  const { held } = await loadState(base, { objects, lastValid }, keys, context, memory);
  return held;
}

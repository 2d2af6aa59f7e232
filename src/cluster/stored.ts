/**
 * Loads a configuration with the objects that etcd or the store of an Admin API holds now, for commands that
 * only look: `check` and `explain` with `--stored`.
 */
import { withAccepted } from '../config/accepted.ts';
import { ConfigError } from '../config/finding.ts';
import { type ConfigText, type LoadedConfig, loadText } from '../config/load.ts';
import type { ClusterConfig } from '../config/schema/schema.ts';
import { readConfigFile } from '../config/sources/file.ts';
import { ProxyError } from '../errors.ts';
import { EtcdObjects } from './apisix/etcd-objects.ts';
import type { State } from './apisix/objects.ts';
import { prefixOf, readKeyring } from './apisix/open.ts';
import { parseBase } from './compose.ts';
import { type Cluster, openCluster, openSeal } from './connect.ts';
import { readFileStore } from './file-store.ts';
import { type Held, loadState, type Objects } from './load-state.ts';
import { addingOf } from './object-source.ts';
import { wholeObject } from './objects.ts';

/**
 * Objects that would be held back are among the warnings. Rejects with a ConfigError, also if etcd or the
 * store cannot be read.
 */
export async function loadStored(file: string): Promise<LoadedConfig> {
  const text = await readConfigFile(file);
  return withAccepted(await loadWithStored(text, file), text);
}

async function loadWithStored(text: ConfigText, file: string): Promise<LoadedConfig> {
  const plain = await loadText(text);
  const { cluster, admin_api: api } = plain.config;
  try {
    if (cluster !== undefined) return await ofCluster(text, plain, cluster);
    if (api?.store === undefined) return plain;
    const seal = api.seal === undefined ? undefined : await openSeal(api.seal, ['admin_api', 'seal']);
    return await loadText({ ...text, adding: addingOf(await readFileStore(api.store, seal)) });
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    throw new ConfigError([wholeObject(file, error.message, error.hint)]);
  }
}

async function ofCluster(
  text: ConfigText,
  plain: LoadedConfig,
  config: ClusterConfig,
): Promise<LoadedConfig> {
  const cluster = await openCluster(plain, config);
  try {
    if (config.etcd.layout === 'apisix') {
      return await loadText({ ...text, adding: addingOf(await apisixState(cluster)) });
    }
    const { keys, seal, etcd } = cluster;
    const objects: Objects = new Map(
      (await etcd.range(keys.config)).entries.map(({ key, value, modRevision }) => [
        key.slice(keys.config.length),
        { text: value.toString(), revision: modRevision },
      ]),
    );
    const state = { objects, lastValid: new Map() };
    const context = { seal, modules: config.modules };
    const { loaded, held } = await loadState(parseBase(text), state, keys, context);
    return { ...loaded, warnings: [...loaded.warnings, ...held.flatMap(warningsOf)] };
  } finally {
    cluster.etcd.close();
  }
}

async function apisixState({ etcd, config }: Cluster): Promise<State> {
  const prefix = prefixOf(config);
  const { revision, entries } = await etcd.range(prefix);
  const copy = { revision, entries: new Map(entries.map((entry) => [entry.key, entry])) };
  const keyring = await readKeyring(config.etcd.keyring);
  const objects = new EtcdObjects({ etcd, prefix, keyring, copy: () => copy, baseline: undefined });
  objects.settle(false);
  return objects.state();
}

/** Machines may still have an earlier version, which this command does not know. */
function warningsOf({ findings }: Held) {
  return findings.map((finding) => ({ ...finding, message: `held back: ${finding.message}` }));
}

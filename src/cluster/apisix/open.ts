/** Opens the source for a file that names the etcd of APISIX (`layout: apisix`). */
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { ConfigError } from '../../config/finding.ts';
import type { LoadedConfig } from '../../config/load.ts';
import type { ClusterConfig } from '../../config/schema/schema.ts';
import { systemCode } from '../../errors.ts';
import { type Cluster, openCluster, openSeal, useCredentials, warnIfReadable } from '../connect.ts';
import { follow } from '../follow.ts';
import { ObjectSource } from '../object-source.ts';
import { apiFor, type OpenedObjects } from '../open-objects.ts';
import { readSnapshotFile, SnapshotFile, type SnapshotPlace } from '../snapshot-file.ts';
import { EtcdObjects } from './etcd-objects.ts';
import { isKeyOfRing, type Keyring, published } from './keyring.ts';
import { ApisixLink } from './link.ts';
import type { State } from './objects.ts';
import { linesOf, parseLines } from './snapshot.ts';

/** How long a start waits for etcd before it serves the snapshot. */
const startMs = 3000;

/** `startApi` is there if the file has an Admin API, which then writes to etcd. */
export type OpenedApisix = Pick<OpenedObjects, 'source' | 'first'> & {
  readonly cluster: ApisixLink;
  readonly startApi?: OpenedObjects['startApi'];
};

/** Rejects with a ConfigError if the secrets that the file names cannot be read. */
export async function openApisix(
  file: string,
  plain: LoadedConfig,
  config: ClusterConfig,
): Promise<OpenedApisix> {
  const cluster = await openCluster(plain, config);
  const keyring = await readKeyring(config.etcd.keyring);
  const prefix = prefixOf(config);
  const place = `snapshot of APISIX at ${prefix}`;
  const at = config.snapshot === undefined ? undefined : { file: config.snapshot, place };
  const baseline = at && (await readBaseline(at, cluster));
  const { etcd } = cluster;
  const objects = new EtcdObjects({ etcd, prefix, keyring, copy: () => follower.copy(), baseline });
  let tellUnwritten = (_: unknown) => {};
  const snapshot =
    at &&
    new SnapshotFile(
      at,
      () => cluster.seal,
      (error) => tellUnwritten(error),
    );
  let arrived = () => {};
  let isFirst = true;
  const link = new ApisixLink(cluster, objects, () => source);
  const follower = follow(cluster.etcd, prefix, {
    onChange: () => {
      if (!isFirst) return objects.changed();
      isFirst = false;
      objects.settle(false);
      arrived();
    },
    onConnected: (fault) => link.connected(fault),
    onEventsLost: () => link.lostEvents(),
  });
  const source = new ObjectSource(file, objects, {
    onWatch(logger: Logger) {
      link.log(logger);
      tellUnwritten = (err) =>
        logger.error({ err }, 'the snapshot cannot be written: a restart without etcd would not serve it');
    },
    onChange: () => link.tellVanished(),
    async onRequest() {
      if (objects.vanished) objects.settle(true);
      cluster.seal = await openSeal(config.seal, ['cluster', 'seal']);
    },
    async onClose() {
      follower.close();
      link.close();
      await snapshot?.close();
      cluster.etcd.close();
    },
    async onTaken({ state, loaded }, logger) {
      await useCredentials(cluster, loaded, logger);
      if (state.revision > 0) snapshot?.keep(() => linesOf(state));
    },
  });
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, startMs);
    arrived = () => {
      clearTimeout(timer);
      resolve();
    };
    if (follower.copy()) arrived();
  });
  if (follower.copy() === undefined && baseline) link.fromSnapshot();
  const first = await source.load();
  const startApi = plain.config.admin_api && { startApi: apiFor(source, first) };
  return { source, first, cluster: link, ...startApi };
}

/** A snapshot that cannot be read is none; the start says so. */
async function readBaseline(at: SnapshotPlace, { seal }: Cluster): Promise<State | undefined> {
  try {
    const lines = await readSnapshotFile(at, seal);
    return lines && parseLines(lines);
  } catch (error) {
    process.stderr.write(`penstock: ${at.file} cannot be used: ${(error as Error).message}\n`);
    return undefined;
  }
}

/** What the keys of objects begin with. */
export function prefixOf({ etcd }: ClusterConfig): string {
  return `${etcd.prefix.replace(/\/$/, '')}/`;
}

/** One key a line; the keyring that APISIX comes with if there is no file. */
export async function readKeyring(file: string | undefined): Promise<Keyring> {
  if (file === undefined) return published;
  const fault = (message: string, hint?: string) =>
    new ConfigError([{ file, line: 0, column: 0, path: '', message, ...(hint && { hint }) }]);
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw fault(`it cannot be read (${systemCode(error)})`);
  });
  await warnIfReadable(file);
  const keys = text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
  if (keys.length > 0 && keys.every(isKeyOfRing)) return keys;
  throw fault(
    'a keyring has one key a line, of 16 or 32 characters',
    'copy them from apisix.data_encryption.keyring',
  );
}

/** Opens the source for a file that has an Admin API. */
import type { Logger } from 'pino';
import { ConfigError } from '../config/finding.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { Offer } from '../config/source.ts';
import { ProxyError } from '../errors.ts';
import { type AdminApi, startAdminApi } from './admin-api/server.ts';
import { openSeal } from './connect.ts';
import { type FileStore, openFileStore } from './file-store.ts';
import { ObjectSource } from './object-source.ts';
import type { Seal } from './seal.ts';
import type { Store } from './store.ts';

export type OpenedObjects = {
  readonly source: ObjectSource<Store>;
  readonly first: Offer;
  /** To be called once the first offer is served. */
  readonly startApi: (logger: Logger) => Promise<AdminApi>;
};

/** `plain` is the file without the objects. Rejects with a ConfigError if the objects cannot be read. */
export async function openObjects(file: string, plain: LoadedConfig): Promise<OpenedObjects> {
  const { store: directory = '', seal } = plain.config.admin_api ?? {};
  const readSecrets = async () => (seal === undefined ? undefined : openSeal(seal, ['admin_api', 'seal']));
  const store = await openStore(directory, await readSecrets());
  const source = new ObjectSource<Store>(file, store, {
    onRequest: async () => store.reseal(await readSecrets()),
  });
  const first = await source.load();
  return { source, first, startApi: apiFor(source, first) };
}

/** Starts the Admin API of a source, by which its objects are changed. */
export function apiFor(source: ObjectSource<Store>, first: Offer): OpenedObjects['startApi'] {
  return async (logger) => {
    const api = await startAdminApi(first.loaded, source, logger);
    source.onTaken(({ loaded }) => api.update(loaded));
    return api;
  };
}

async function openStore(directory: string, seal: Seal | undefined): Promise<FileStore> {
  try {
    return await openFileStore(directory, seal);
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    const { message, hint } = error;
    const place = { file: directory, line: 0, column: 0, path: '' };
    throw new ConfigError([{ ...place, message, ...(hint !== undefined && { hint }) }]);
  }
}

/** Settings that a reload leaves as they are, although it takes the rest of a configuration. */
import type { Logger } from 'pino';
import type { Config } from '../config/schema/schema.ts';

type Settings = Readonly<Record<string, unknown>>;

/** Whether there is a section at all, or else what it says. */
function settingsOf({ log, otlp, cluster, admin_api }: Config): Settings {
  return {
    'log.destination': log.destination,
    otlp,
    cluster: cluster !== undefined,
    admin_api: admin_api !== undefined,
    ...(cluster && settingsOfCluster(cluster)),
  };
}

/** A reload takes the others: secrets, modules, and by what etcd knows the machine. */
function settingsOfCluster({
  name,
  machine,
  snapshot,
  limits,
  etcd,
}: NonNullable<Config['cluster']>): Settings {
  return {
    'cluster.name': name,
    'cluster.machine': machine,
    'cluster.snapshot': snapshot,
    'cluster.limits': limits,
    'cluster.etcd.endpoints': etcd.endpoints,
    'cluster.etcd.prefix': etcd.prefix,
    'cluster.etcd.layout': etcd.layout,
    'cluster.etcd.keyring': etcd.keyring,
  };
}

/** Warns of each setting that differs from what it was at the start, once as long as it stays so. */
export function createRestartWarner(first: Config, logger: Logger): (next: Config) => void {
  const before = settingsOf(first);
  let told = new Set<string>();
  return (next) => {
    const now = settingsOf(next);
    // If the section as a whole has come or gone, that is enough.
    const names = Object.keys(before).filter((name) => name in now);
    const changed = names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(now[name]));
    for (const name of changed) {
      if (!told.has(name)) logger.warn(`${name} is changed by a restart, not by a reload`);
    }
    told = new Set(changed);
  };
}

/** Checks the Admin API, and that listeners whose routes come from it have one. */
import { parseEndpoint } from '../../net/written-address.ts';
import type { Report } from '../finding.ts';
import type { Config } from '../schema/schema.ts';
import { checkSocketPath } from './sockets.ts';

type AdminApiConfig = NonNullable<Config['admin_api']>;

export function checkAdminApi({ admin_api: api, admin, cluster, listeners }: Config, report: Report): void {
  const fed = Object.entries(listeners).filter(([, { stream_routes }]) => stream_routes !== undefined);
  if (api === undefined) {
    if (cluster?.etcd.layout === 'apisix') return;
    for (const [name] of fed) {
      const message = 'these routes come from the Admin API, and there is none';
      report.fault(['listeners', name, 'stream_routes'], message, 'add `admin_api`, or write `routes`');
    }
    return;
  }
  checkStore(api, cluster, report);
  const place = ['admin_api', 'bind'];
  const endpoint = parseEndpoint(api.bind);
  if (endpoint && 'path' in endpoint) checkSocketPath(api.bind, place, report);
  else if (api.tls === undefined && !isLoopback(endpoint?.host)) {
    const message = 'keys would cross the network in clear text';
    report.fault(place, message, 'add `tls`, or bind a loopback address such as 127.0.0.1:9180');
  }
  if (admin?.bind === api.bind) report.fault(place, `${api.bind} is already taken by admin`);
  if (fed.length === 0) {
    const message = 'no listener takes its routes from here, so nothing of it is served';
    report.warn(['admin_api'], message, 'give a listener `stream_routes` instead of `routes`');
  }
}

/** Objects are kept in a directory, or in the etcd of APISIX's objects. */
function checkStore({ store, seal }: AdminApiConfig, cluster: Config['cluster'], report: Report): void {
  if (cluster !== undefined && cluster.etcd.layout !== 'apisix') {
    const message = 'what it writes to etcd are objects of APISIX, and this cluster has those of penstock';
    report.fault(['admin_api'], message, 'remove `admin_api`, or set `cluster.etcd.layout: apisix`');
  } else if (cluster !== undefined && store !== undefined) {
    const message = 'objects are kept in etcd or in a directory, not in both';
    report.fault(['admin_api', 'store'], message, 'remove it, or `cluster`');
  } else if (cluster === undefined && store === undefined) {
    const message = 'there is no place to keep the objects in';
    report.fault(['admin_api'], message, 'add `store: DIRECTORY`, or `cluster` with `etcd.layout: apisix`');
  }
  if (seal !== undefined && store === undefined) {
    const message = 'it seals what `store` has; keys in etcd are encrypted by `cluster.etcd.keyring`';
    report.fault(['admin_api', 'seal'], message, 'remove it');
  }
}

function isLoopback(host: string | undefined): boolean {
  return host !== undefined && /^(127(\.\d{1,3}){3}|::1|localhost)$/.test(host);
}

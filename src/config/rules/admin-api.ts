/** Checks the Admin API, and that listeners whose routes come from it have one. */
import { parseEndpoint } from '../../net/written-address.ts';
import type { Report } from '../finding.ts';
import type { Config } from '../schema/schema.ts';
import { checkSocketPath } from './sockets.ts';

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
  if (cluster !== undefined) {
    const message = 'one penstock takes objects from etcd or from requests, not from both';
    report.fault(['admin_api'], message, 'remove `admin_api` or `cluster`');
  }
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

function isLoopback(host: string | undefined): boolean {
  return host !== undefined && /^(127(\.\d{1,3}){3}|::1|localhost)$/.test(host);
}

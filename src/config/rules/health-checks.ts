/** Finds contradictions in the health checks of upstreams. */
import type { Path, Report } from '../finding.ts';
import type { UpstreamConfig } from '../schema/schema.ts';
import { placeholders } from './placeholders.ts';
import { checkSocketPath } from './sockets.ts';
import { checkUpstreamTls } from './upstream-tls.ts';

/** Reports contradictions and options without effect in `health_check`. */
export function checkHealth(upstream: UpstreamConfig, path: Path, report: Report): void {
  const { health_check: check, endpoints } = upstream;
  if (check === undefined) return;
  const place = [...path, 'health_check'];
  if (check.type === 'expect' && check.expect === undefined) {
    report.lack(place, '`type: expect` needs `expect`', 'say what the upstream answers');
  }
  if (check.type === 'http' && check.method === 'HEAD' && check.expect !== undefined) {
    report.fault([...place, 'expect'], 'the answer to HEAD has no body', 'write `method: GET`');
  }
  for (const [option, types] of usedBy) {
    if (check[option] === undefined || types.includes(check.type)) continue;
    report.warn([...place, option], `\`type: ${check.type}\` does not use it`);
  }
  checkTls(upstream, check, place, report);
  checkPlace(upstream, check, place, report);
  if (endpoints.every(({ address }) => placeholders(address).length > 0)) {
    report.warn(place, 'all endpoints are templates, which are not checked');
  }
}

type HealthCheck = NonNullable<UpstreamConfig['health_check']>;

const usedBy: readonly (readonly [keyof HealthCheck, readonly HealthCheck['type'][]])[] = [
  ['send', ['expect']],
  ['expect', ['expect', 'http']],
  ['method', ['http']],
  ['path', ['http']],
  ['host', ['http']],
  ['status', ['http']],
];

/** Reports what does not say where to check. */
function checkPlace({ endpoints }: UpstreamConfig, check: HealthCheck, place: Path, report: Report): void {
  const { port, address } = check;
  const socket = endpoints.findIndex((endpoint) => endpoint.address.startsWith('unix:'));
  if (address?.startsWith('unix:')) {
    checkSocketPath(address, [...place, 'address'], report);
    if (port !== undefined) report.fault([...place, 'port'], 'a unix socket has no port', 'remove it');
  } else if (socket !== -1 && address === undefined && port !== undefined) {
    const message = `endpoint ${socket} is a unix socket, which has no other port`;
    report.fault([...place, 'port'], message, 'give the host to check as `address`');
  } else if (socket !== -1 && address !== undefined && port === undefined) {
    report.lack(
      place,
      `endpoint ${socket} is a unix socket, which has no port for \`address\``,
      'give `port`',
    );
  }
}

/** The upstream's own settings apply unless the check has its own, or goes elsewhere. */
function checkTls({ tls, endpoints }: UpstreamConfig, check: HealthCheck, place: Path, report: Report): void {
  const { type, address } = check;
  const path = [...place, 'tls'];
  if (check.tls !== undefined && type === 'tcp') {
    report.warn(path, '`type: tcp` does not use it');
  } else if (check.tls === 'off') {
    if (type === 'tls') report.fault(path, '`type: tls` needs TLS', 'write `type: tcp`');
  } else if (check.tls !== undefined) {
    checkUpstreamTls(
      check.tls,
      { endpoints: address === undefined ? endpoints : [at(address)] },
      path,
      report,
    );
    if (placeholders(check.tls.server_name ?? '').includes('{sni}')) {
      report.fault([...path, 'server_name'], 'a check has no client whose name could be used');
    }
  } else if (check.port === undefined && address === undefined && type !== 'tcp') {
    if (tls?.server_name?.includes('{sni}')) {
      report.fault(
        [...place, 'type'],
        'a check has no client whose name could be used',
        'write `type: tcp`, or a fixed `server_name`',
      );
    }
    if (type === 'http' && tls?.starttls !== undefined) {
      const message = `HTTP does not begin with STARTTLS, as \`starttls: ${tls.starttls}\` of the upstream does`;
      report.fault([...place, 'type'], message, 'give the `port` that answers HTTP, or `tls` of the check');
    }
  }
}

function at(address: string): UpstreamConfig['endpoints'][number] {
  return { address: address.startsWith('unix:') ? address : `${address}:1`, weight: 1, priority: 0 };
}

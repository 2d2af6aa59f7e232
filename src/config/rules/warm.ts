/**
 * Where connections may be made ahead of clients (`warm`), and where that would have no effect or do harm.
 */
import type { Protocol } from '../../protocols/protocol.ts';
import { protocolOf } from '../../protocols/table.ts';
import type { Path, Report } from '../finding.ts';
import type { Config, UpstreamConfig } from '../schema/schema.ts';
import { placeholders } from './placeholders.ts';

/** `protocol` gives a protocol by its name in the configuration. */
export function checkWarm(
  config: Config,
  report: Report,
  protocol: (name: string | undefined) => Pick<Protocol, 'title' | 'notWarm'> | undefined = (name) =>
    protocolOf(name as Parameters<typeof protocolOf>[0]),
): void {
  const warm = Object.entries(config.upstreams).filter(([, { warm }]) => warm !== undefined);
  const leading = warm.length === 0 ? new Map<string, Set<string>>() : protocolsLeadingTo(config);
  for (const [name, upstream] of warm) {
    const path = ['upstreams', name, 'warm'];
    for (const spoken of spokenTo(upstream, leading.get(name))) {
      const { title, notWarm } = protocol(spoken) ?? {};
      if (notWarm === undefined) continue;
      report.fault(path, `${title} servers take no silent connections: ${notWarm}`, 'leave out `warm`');
      break;
    }
    warnOfNoEffect(upstream, path, report);
  }
}

/** The protocols that an upstream is said to speak, by itself or by a listener that leads to it. */
function spokenTo({ tls, health_check }: UpstreamConfig, led: Iterable<string> = []): Set<string> {
  return new Set([tls?.starttls, health_check?.type, ...led].filter((it) => it !== undefined));
}

/** The protocols of the listeners that lead to upstreams, by the names of these. */
function protocolsLeadingTo({ listeners }: Config): Map<string, Set<string>> {
  const protocols = new Map<string, Set<string>>();
  for (const { starttls, routes } of Object.values(listeners)) {
    if (starttls === undefined) continue;
    for (const { upstream } of routes) {
      if (upstream === undefined) continue;
      const known = protocols.get(upstream) ?? new Set();
      protocols.set(upstream, known.add(starttls));
    }
  }
  return protocols;
}

function warnOfNoEffect({ endpoints, dial, limits }: UpstreamConfig, path: Path, report: Report): void {
  if (endpoints.every(({ address }) => placeholders(address).length > 0)) {
    report.warn(path, 'all endpoints are templates, and no connection is kept ready to those');
  }
  if (limits.connections === 1) {
    report.warn(
      path,
      'under `limits.connections: 1` there is no room for any: one place is left for a client',
    );
  }
  if (dial === 'early') {
    report.warn(
      [...path.slice(0, -1), 'dial'],
      'with `warm` connections are there before their clients come',
    );
  }
}

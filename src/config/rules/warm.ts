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
  for (const [name, upstream] of Object.entries(config.upstreams)) {
    if (upstream.warm === undefined) continue;
    const path = ['upstreams', name, 'warm'];
    for (const spoken of spokenTo(name, upstream, config)) {
      const { title, notWarm } = protocol(spoken) ?? {};
      if (notWarm === undefined) continue;
      report.fault(path, `${title} servers take no silent connections: ${notWarm}`, 'leave out `warm`');
      break;
    }
    warnOfNoEffect(upstream, path, report);
  }
}

/** The protocols that an upstream is said to speak, by itself or by a listener that leads to it. */
function spokenTo(name: string, { tls, health_check }: UpstreamConfig, { listeners }: Config): Set<string> {
  const led = Object.values(listeners).filter(({ routes }) =>
    routes.some((route) => 'upstream' in route && route.upstream === name),
  );
  const names = [tls?.starttls, health_check?.type, ...led.map(({ starttls }) => starttls)];
  return new Set(names.filter((it) => it !== undefined));
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

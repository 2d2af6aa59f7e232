/** Where the protocols of a listener and of the upstreams that it leads to do not fit together. */
import { parseEndpoint } from '../../net/written-address.ts';
import { protocolOf } from '../../protocols/table.ts';
import type { Path, Report } from '../finding.ts';
import type { Config, ListenerConfig } from '../schema/schema.ts';

export function checkStarttls(config: Config, report: Report): void {
  for (const [name, listener] of Object.entries(config.listeners)) {
    for (const [index, route] of listener.routes.entries()) {
      if (!('upstream' in route) || route.upstream === undefined) continue;
      checkRoute(listener, route, { config, report, path: ['listeners', name, 'routes', index] });
    }
  }
}

type Route = ListenerConfig['routes'][number];
type Context = { readonly config: Config; readonly report: Report; readonly path: Path };

function checkRoute({ starttls }: ListenerConfig, route: Route, { config, report, path }: Context): void {
  const name = route.upstream ?? '';
  const upstream = config.upstreams[name];
  const { plainHint, passthroughHint } = protocolOf(starttls) ?? {};
  if (passthroughHint && route.tls === 'passthrough') {
    report.warn([...path, 'tls'], passthroughHint, 'terminate TLS here, or use accounts with another plugin');
  }
  if (upstream === undefined || route.tls === 'passthrough') return;
  const asked = upstream.tls?.starttls;
  const { asksForClient, title } = protocolOf(asked) ?? {};
  if (asksForClient && starttls !== asked) {
    report.fault(
      [...path, 'upstream'],
      `upstream "${name}" is asked for TLS in the words of its client, who has not spoken ${title} yet`,
      `give the listener \`starttls: ${asked}\``,
    );
  }
  const isTcp = upstream.endpoints.some(({ address }) => !('path' in (parseEndpoint(address) ?? {})));
  if (plainHint && upstream.tls === undefined && isTcp && route.tls !== 'off') {
    report.warn(
      [...path, 'upstream'],
      plainHint,
      `give upstreams.${name} \`tls: { starttls: ${starttls} }\`, or a unix socket`,
    );
  }
}

/** Explains why a route is not taken. */
import type { RouteConfig } from '../../config/schema/schema.ts';
import type { Failure } from '../../decide/router.ts';
import type { AssumedClient } from '../client/assumed-client.ts';
import { some } from '../terminal/text.ts';
import type { DescribedClient } from './describe-client.ts';
import type { ExplainedRoute } from './explanation.ts';

/** A route as in the log: its name, or else its index. */
export function labelOf(routes: readonly RouteConfig[], index: number): string {
  return routes[index]?.name ?? String(index);
}

/** Completes "route orders: not taken, …". `better` is the route that precedes it. */
export function whyNotTaken(
  failed: Failure,
  route: RouteConfig,
  client: AssumedClient,
  better: string | undefined,
): string {
  switch (failed) {
    case 'tls':
      return client.plain
        ? 'the client speaks no TLS, the route is for clients that do'
        : 'the client speaks TLS, the route is for plain clients';
    case 'sni':
      if (route.sni === undefined) {
        return `servers that it passes clients on to may read ${client.sni} as a name that has routes of its own`;
      }
      return (
        unlike('asks for no name', 'asks for', client.sni, route.sni) +
        (route.wildcard === 'one_label' ? ' (`*` is one label)' : '')
      );
    case 'specificity':
      return `${route.sni ? `its ${some(route.sni)} is` : 'being for any name it is'} less specific than route ${better}`;
    case 'alpn':
      return unlike(
        client.alpn ? 'offers no protocol' : 'offers unknown protocols (--alpn)',
        'offers',
        client.alpn?.join(', ') || undefined,
        route.alpn,
      );
    case 'from':
      return unlike('has an unknown address (--from)', 'is', client.address, route.from);
    case 'ja4':
      return unlike('has an unknown fingerprint (--ja4)', 'is', client.ja4, route.ja4);
    case 'order':
      return `route ${better} comes before it`;
  }
}

/** Why no route is taken: what failed in the first candidate, or that there is no route for such a client. */
export function whyNone(routes: readonly ExplainedRoute[], { sni, plain }: DescribedClient): string {
  const [nearest] = routes;
  if (nearest?.why && nearest.failed !== 'sni' && nearest.failed !== 'tls') {
    return `route ${nearest.route} is not taken: ${nearest.why}`;
  }
  if (plain) return 'no route is for plain clients';
  return sni === null ? 'the client asks for no name, and each route is for one' : `no route is for ${sni}`;
}

function unlike(
  unsaid: string,
  verb: string,
  value: string | undefined,
  wanted: readonly string[] = [],
): string {
  return `the client ${value === undefined ? unsaid : `${verb} ${value}`}, the route is for ${some(wanted)}`;
}

/** Whether a connection that is open would be let in again, now that the configuration is another. */
import type { Connection } from './connection-state.ts';
import { identityOf } from './identity.ts';
import type { Listener, Route } from './service.ts';

/**
 * Why it would not be: its listener or route is gone, leads elsewhere, or refuses its client. Undefined if it would, and
 * for one that is still being established, which is judged by the rules that it came under.
 */
export async function whyUnwelcome(
  connection: Connection,
  listener: Listener | undefined,
): Promise<string | undefined> {
  const { record, route: old } = connection;
  if (old === undefined || record.phase !== 'splice') return undefined;
  if (listener === undefined) return 'its listener was removed';
  if (!listener.admission.allows(record.client.address)) return 'its address is no longer let in';
  const found = listener.routes.find({
    sni: record.sni,
    alpn: connection.offered,
    client: record.client.address,
    ja4: record.ja4 ?? '',
    plain: record.ja4 === undefined,
  });
  const route = found?.route;
  if (route === undefined || !leadsAlike(old, route)) return 'its route was removed';
  if (route.kind !== 'terminate' || old.kind !== 'terminate') return undefined;
  return whyClientUnwelcome(connection, old, route);
}

type TerminateRoute = Extract<Route, { kind: 'terminate' }>;

async function whyClientUnwelcome(
  connection: Connection,
  old: TerminateRoute,
  route: TerminateRoute,
): Promise<string | undefined> {
  if (route.policy !== old.policy) {
    const verdict = route.policy.recheck(connection.clientCert);
    if (!verdict.ok) return verdict.error.message;
  }
  try {
    await route.authorizer?.check(identityOf(connection));
  } catch (error) {
    return (error as Error).message;
  }
  return undefined;
}

/** To the same upstream, in the same way. */
function leadsAlike(old: Route, route: Route): boolean {
  if (old.kind === 'deny' || route.kind === 'deny') return false;
  return old.kind === route.kind && old.outbound.upstream.name === route.outbound.upstream.name;
}

/** What a user's `authorize` module learns about a client. */

import { hostNameOf } from '../config/routes/server-name.ts';
import { describeForAuthorize } from '../tls/client-auth/authorize.ts';
import type { ClientIdentity } from '../tls/client-auth/client-identity.ts';
import type { Connection } from './state.ts';

/** Names are those that an authority vouches for: a pinned certificate has none. */
export function identityOf({ record, clientCert, listener }: Connection): ClientIdentity {
  return {
    listener: listener.name,
    route: record.route ?? '',
    sni: hostNameOf(record.sni),
    alpn: record.alpn,
    ja4: record.ja4,
    client: record.client,
    certificate: clientCert && describeForAuthorize(clientCert),
  };
}

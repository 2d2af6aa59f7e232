/** Applies client authentication to a client: checks its certificate, then asks the user's own check. */
import type { LoadedAuthority } from '../../config/load.ts';
import { hostNameOf } from '../../config/routes/server-name.ts';
import type { ClientAuthConfig } from '../../config/schema/schema.ts';
import { ProxyError } from '../../errors.ts';
import { type Authorizer, createAuthorizer, describeForAuthorize } from '../../tls/client-auth/authorize.ts';
import type { ClientCert } from '../../tls/client-auth/client-auth.ts';
import { foreseeClientAuth } from '../../tls/client-auth/foresee.ts';
import type { AssumedClient } from '../client/assumed-client.ts';

/** Names from the configuration; a route without a name is given by its index. */
export type RoutePlace = { readonly listener: string; readonly route: string | number };

/** `admitted` is null if it was not stated what the client presents. */
export type Judgement = { readonly admitted: boolean | null; readonly refusal: ProxyError | undefined };

export type Judge = {
  readonly verdict: (
    config: ClientAuthConfig,
    authority: LoadedAuthority | undefined,
    who: Who,
  ) => Promise<Judgement>;
  readonly close: () => Promise<void>;
};

type Who = RoutePlace & { readonly client: AssumedClient; readonly alpn: string | undefined };

/** Loads the user's own module on first use, and asks it as a connection does. */
export function createJudge(): Judge {
  const authorizers = new Map<string, Authorizer>();

  async function authorize(
    module: string,
    who: Who,
    cert: ClientCert | undefined,
  ): Promise<ProxyError | undefined> {
    const authorizer = authorizers.get(module) ?? createAuthorizer(module);
    authorizers.set(module, authorizer);
    const { client, ...place } = who;
    try {
      await authorizer.ready();
      await authorizer.check({
        ...place,
        sni: hostNameOf(client.sni),
        ja4: client.ja4,
        client: { address: client.address ?? '', port: 0 },
        certificate: cert && describeForAuthorize(cert),
      });
      return undefined;
    } catch (error) {
      if (error instanceof ProxyError) return error;
      throw error;
    }
  }

  return {
    async verdict(config, authority, who) {
      const { certificates } = who.client;
      if (certificates === undefined) return { admitted: null, refusal: undefined };
      const { ok, cert, ...rest } = foreseeClientAuth(config, authority, certificates, Date.now());
      let refusal = 'error' in rest ? rest.error : undefined;
      if (ok && config.authorize !== undefined) refusal = await authorize(config.authorize, who, cert);
      return { admitted: refusal === undefined, refusal };
    },
    async close() {
      await Promise.all([...authorizers.values()].map((authorizer) => authorizer.close()));
    },
  };
}

/** What the tests of all protocols that speak before TLS have in common: a proxy, what is behind it, and a health check's verdict on that. */
import type { TestContext } from 'node:test';
import { checksOf, isDown, passed } from './health.ts';
import { ownCertificate } from './own-certificate.ts';
import { type RunningProxy, startProxy } from './proxy.ts';

/** `plain`: no TLS. `starttls`: TLS where it is asked for. `first`: everything within TLS. */
export type ServerMode = 'plain' | 'starttls' | 'first';

/** A stand-in for a server: who came, and what they said. */
export type StandIn = {
  readonly port: number;
  readonly accepted: () => number;
  /** Before TLS, if it has any. */
  readonly got: () => string;
  readonly within: () => string;
};

export type Changes = {
  readonly upstream?: object;
  readonly tls?: object | string;
  readonly [key: string]: unknown;
};

/** With a certificate for this name, which clients ask for by SNI. */
export async function sceneOf(serverName: string) {
  const own = await ownCertificate(serverName, 'localhost');
  const clients = await ownCertificate('a-client');
  const verified = { authority: 'test', server_name: serverName };

  /** How an upstream reaches a server of each kind. */
  const towards = (protocol: string): Record<ServerMode, object> => ({
    plain: {},
    starttls: { tls: { starttls: protocol, ...verified } },
    first: { tls: verified },
  });

  /** A listener that is asked for TLS, and the upstream behind it; both are called `it`. */
  const proxyTo = (
    t: TestContext,
    protocol: string,
    { port }: { readonly port: number },
    { upstream = {}, tls = { certificates: 'own' }, ...listener }: Changes = {},
  ): Promise<RunningProxy> =>
    startProxy(
      t,
      {
        ...own.sections,
        authorities: { ...own.sections.authorities, clients: { ca: 'clients.crt' } },
        listeners: {
          it: { starttls: protocol, routes: [{ sni: serverName, tls, upstream: 'it' }], ...listener },
        },
        upstreams: { it: { endpoints: [`127.0.0.1:${port}`], retries: 0, ...upstream } },
      },
      { ...own.files, 'clients.crt': clients.authority.cert },
    );

  /** Why a server is down for this health check, or undefined. */
  const verdictOn = async (
    t: TestContext,
    type: string,
    port: number,
    upstream: object = {},
  ): Promise<string | undefined> => {
    const address = `127.0.0.1:${port}`;
    const health_check = { type, interval: '50ms', timeout: '5s', healthy_after: 1, unhealthy_after: 2 };
    const checks = await checksOf(
      t,
      { endpoints: [address], health_check, ...upstream },
      { sections: own.sections, files: own.files },
    );
    const { up, reason } = await checks.report(address, (it) => passed(it) || isDown(it));
    return up ? undefined : reason;
  };

  return { own, clients, towards, proxyTo, verdictOn };
}

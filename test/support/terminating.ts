/** A proxy that terminates TLS before one counting upstream, told only what a test is about. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { type Authority, type Credential, createAuthority } from './certificates.ts';
import { type ClientOptions, type EchoUpstream, echoUpstream, type Talk, tlsTalk } from './clients.ts';
import { eventually } from './eventually.ts';
import { type LogLine, startProxy } from './proxy.ts';

/** The CA of what the proxy presents, and a certificate for every `*.example`. */
export const serverAuthority: Authority = await createAuthority({ name: 'Server CA' });
export const serverCredential: Credential = await serverAuthority.issue({
  dns: ['*.example'],
  usage: 'server',
});

/** A route; unless it says otherwise it terminates with the certificate above, before the echoing upstream. */
export type RouteParts = {
  readonly sni?: string;
  readonly tls?: object | 'passthrough';
  readonly [key: string]: unknown;
};

/** Texts in PEM. */
export type AuthorityParts = { readonly ca: string; readonly crl?: string };

/** A running one, and its upstream. */
export type Terminating = Awaited<ReturnType<typeof startProxy>> & { readonly upstream: EchoUpstream };

export type Scene = {
  readonly listeners: Readonly<Record<string, readonly RouteParts[]>>;
  readonly authorities?: Readonly<Record<string, AuthorityParts>>;
  /** Besides `own`, the one above. */
  readonly certificates?: Readonly<Record<string, Credential | readonly Credential[]>>;
  /** More of the upstream's configuration. */
  readonly upstream?: object;
  /** More upstreams, for routes that name one. */
  readonly upstreams?: Readonly<Record<string, object>>;
  /** More files, such as modules for `authorize`. */
  readonly files?: Readonly<Record<string, string>>;
};

/** Starts both; they end with the test. */
export async function startTerminating(t: Pick<TestContext, 'after'>, scene: Scene): Promise<Terminating> {
  const upstream = await echoUpstream(t);
  const { config, files } = sceneConfig(scene, upstream.port);
  return { ...(await startProxy(t, config, files)), upstream };
}

/** The configuration and files of a scene whose upstream is at this port. */
export function sceneConfig(scene: Scene, upstreamPort: number) {
  const files: Record<string, string> = { ...scene.files };
  const certificates = Object.entries({ own: serverCredential, ...scene.certificates }).map(
    ([name, credentials]) => {
      const pairs = [credentials].flat().map((credential, index) => {
        const [cert, key] = [`${name}-${index}.crt`, `${name}-${index}.key`];
        files[cert] = credential.chain || credential.cert;
        files[key] = credential.key;
        return { cert, key };
      });
      return [name, { pairs }];
    },
  );
  const authorities = Object.entries(scene.authorities ?? {}).map(([name, { ca, crl }]) => {
    files[`${name}-ca.crt`] = ca;
    if (crl !== undefined) files[`${name}.crl`] = crl;
    return [name, { ca: `${name}-ca.crt`, ...(crl !== undefined && { crl: `${name}.crl` }) }];
  });
  const listeners = Object.entries(scene.listeners).map(([name, routes]) => [
    name,
    { routes: routes.map(routeOf) },
  ]);
  const config = {
    certificates: Object.fromEntries(certificates),
    authorities: Object.fromEntries(authorities),
    listeners: Object.fromEntries(listeners) as Record<string, object>,
    upstreams: { echo: { endpoints: [`127.0.0.1:${upstreamPort}`], ...scene.upstream }, ...scene.upstreams },
  };
  return { config, files };
}

function routeOf({ tls, ...route }: RouteParts): object {
  if (route['deny']) return route;
  return { upstream: 'echo', ...route, tls: tls === 'passthrough' ? tls : { certificates: ['own'], ...tls } };
}

/** One connection: what the client saw, and what the proxy wrote of it. One at a time. */
export type Visit = { readonly talk: Talk; readonly line: LogLine };

export async function visit(
  { log }: { readonly log: readonly LogLine[] },
  port: number,
  options: ClientOptions = {},
  payload?: string,
): Promise<Visit> {
  const before = log.length;
  const talk = await tlsTalk(port, options, payload);
  const find = () => log.slice(before).find(({ msg }) => msg === 'connection');
  await eventually(() => assert.ok(find(), `no new line in ${JSON.stringify(log, null, 1)}`));
  return { talk, line: find() as LogLine };
}

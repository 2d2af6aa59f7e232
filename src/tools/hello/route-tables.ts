/** How the routes of a configuration treat a client whose hello was read. */
import type { LoadedConfig } from '../../config/load.ts';
import type { ReadHello } from '../../peek/client-hello.ts';
import { hostOf, type Origin } from '../captures/input.ts';
import { clientOf } from '../client/assumed-client.ts';
import { createExplainer, type Explanation } from '../explain/explanation.ts';
import { whyNone } from '../explain/reasons.ts';
import { section } from '../terminal/text.ts';

/** How one listener treats the client; `penstock explain` says why. */
export type Routed = ReturnType<typeof summarize>;

export type RouteTables = {
  readonly route: (heard: { readonly origin: Origin; readonly read: ReadHello }) => Promise<Routed[]>;
  readonly close: () => Promise<void>;
};

/** The routes of all listeners, or of one. */
export function createRouteTables(loaded: LoadedConfig, listener: string | undefined): RouteTables {
  const explainer = createExplainer(loaded);
  const names = listener === undefined ? Object.keys(loaded.config.listeners) : [listener];
  return {
    async route({ origin, read }) {
      const client = { ...clientOf(read), address: hostOf(origin.from), peer: hostOf(origin.peer) };
      const routed: Routed[] = [];
      for (const name of names) routed.push(summarize(await explainer.explain(name, client)));
      return routed;
    },
    close: explainer.close,
  };
}

function summarize({ listener, taken, tls, upstream, code, error, undecided, ...rest }: Explanation) {
  return {
    listener,
    route: taken?.route ?? null,
    action: taken?.action ?? null,
    certificate: tls?.certificate.name ?? null,
    version: tls?.version ?? null,
    cipher: tls?.cipher ?? null,
    client_auth: tls?.client_auth?.mode ?? null,
    upstream: upstream?.name ?? null,
    code,
    error: error ?? (code === 'ERR_NO_ROUTE' ? whyNone(rest.routes, rest.client) : null),
    undecided,
  };
}

/** Formats one line per listener. */
export function formatRouted(routed: readonly Routed[]): string {
  return section('Routes', routed.map(sentence));
}

function sentence({ listener, route, action, upstream, code, error, undecided, ...tls }: Routed): string {
  const by = route === null ? '' : `route ${route}${action === null ? '' : ` (${verbs[action]})`}`;
  const seen = tls.certificate === null ? '' : `, certificate ${tls.certificate}`;
  const agreed = tls.version === null ? '' : `, TLS ${tls.version} with ${tls.cipher}`;
  const asked = tls.client_auth === null ? '' : `, client certificate ${demands[tls.client_auth]}`;
  const end =
    code === null
      ? `, to upstream ${upstream}`
      : `${by === '' ? '' : ', '}${code}${error === null ? '' : `: ${error}`}`;
  const open = undecided.length === 0 ? '' : `; it depends on ${undecided.join(', ')}, which is not known`;
  return `${listener}: ${by}${code === null ? `${seen}${agreed}${asked}` : ''}${end}${open}`;
}

const demands = { require: 'required', request: 'requested', none: 'not requested' } as const;

const verbs = {
  terminate: 'TLS ends here',
  passthrough: 'passed through',
  off: 'plain',
  deny: 'denied',
} as const;

/** The refusals that follow from the rules alone: their codes, and what the operator can do about them. */

import { hostNameOf } from '../config/routes/server-name.ts';
import { ProxyError, type Side } from '../errors.ts';
import { shellWord } from '../net/shell-word.ts';
import { notTls } from '../peek/not-tls.ts';
import type { Protocol } from '../protocols/protocol.ts';
import type { RouteQuery } from './router.ts';
import type { Destination } from './rules.ts';

/** In the order in which the rules are checked. */
export const refusalCodes = [
  'ERR_PROXY_HEADER_UNTRUSTED',
  'ERR_ADDRESS_DENIED',
  'ERR_STARTTLS_REQUIRED',
  'ERR_NOT_TLS',
  'ERR_NO_ROUTE',
  'ERR_ROUTE_DENIED',
  'ERR_CLUSTER_HELD',
] as const;

export type Refusal<R extends Destination = Destination> = {
  readonly kind: 'refusal';
  readonly code: (typeof refusalCodes)[number];
  readonly side: Side;
  readonly message: string;
  readonly hint: string | undefined;
  /** The route that denies the client, if any. */
  readonly route: R | undefined;
};

/** The refusal as an error, for serving. */
export function errorOf(refusal: Refusal): ProxyError {
  return new ProxyError(refusal.code, refusal);
}

/** Throws the refusal, if there is one. */
export function enforce(refusal: Refusal | undefined): void {
  if (refusal) throw errorOf(refusal);
}

export function peerUntrusted(listener: string, peer: string): Refusal<never> {
  return refuse(
    'ERR_PROXY_HEADER_UNTRUSTED',
    `${peer} is not trusted to send PROXY headers, which this listener requires`,
    `if it is your load balancer, add it to listeners.${listener}.accept_proxy_protocol.from`,
  );
}

export function addressDenied(listener: string, address: string): Refusal<never> {
  const hint = `see allow and deny of listeners.${listener}`;
  return { ...refuse('ERR_ADDRESS_DENIED', `${address} is not let in`, hint), side: 'proxy' };
}

/** `protocol` is the one in which the listener's clients ask for TLS. */
export function plainRefused(protocol: Protocol | undefined): Refusal<never> {
  if (protocol) return refuse('ERR_STARTTLS_REQUIRED', 'the client does not ask for TLS', protocol.tlsHint);
  const { message, hint } = notTls();
  return refuse('ERR_NOT_TLS', message, hint);
}

export function noRoute(listener: string, client: RouteQuery): Refusal<never> {
  const message = `no route of ${listener} takes ${describe(client)}`;
  return refuse('ERR_NO_ROUTE', message, client.plain ? undefined : hintOfNoRoute(listener, client));
}

export function routeDenied<R extends Destination>(route: R, client: RouteQuery): Refusal<R> {
  return { ...(route.held ? heldBack(route) : deniedBy(route, client)), route };
}

function deniedBy({ label }: Destination, client: RouteQuery): Refusal<never> {
  return refuse('ERR_ROUTE_DENIED', `route ${label} denies ${describe(client)}`);
}

/** The operator's fault, not the client's. */
function heldBack({ label }: Destination): Refusal<never> {
  const hint = 'the log names the faulty object, as does `penstock cluster status` in a cluster';
  const message = `route ${label} is held back: an object that it is made of is faulty`;
  return { ...refuse('ERR_CLUSTER_HELD', message, hint), side: 'proxy' };
}

function refuse(code: Refusal['code'], message: string, hint?: string): Refusal<never> {
  return { kind: 'refusal', code, side: 'client', message, hint, route: undefined };
}

function hintOfNoRoute(listener: string, client: RouteQuery): string {
  const { sni } = client;
  if (sni === undefined) {
    return 'the client sent no server name (SNI), as with an address in place of a name; a route without `sni` would take it';
  }
  const explain = `\`${explainCommand(listener, client)}\` says why`;
  if (hostNameOf(sni) === undefined) {
    return `an address or a port is no server name: have the client send the name alone (a route without \`sni\` would take it); ${explain}`;
  }
  if (!sni.includes('.')) {
    return `a name of one label, as from a search domain or a hosts file: have the client connect by the full name; ${explain}`;
  }
  return explain;
}

/** Ready to paste, although strangers have chosen what is in it. */
function explainCommand(listener: string, { sni, alpn, client }: RouteQuery): string {
  // With `=`, a value that begins with a dash is no option.
  const flags = Object.entries({ sni, alpn: alpn.join(',') || undefined, from: client }).flatMap(
    ([flag, value]) => {
      const word = value === undefined ? undefined : shellWord(value);
      return word === undefined ? [] : [`--${flag}=${word}`];
    },
  );
  return ['penstock explain', `--listener=${listener}`, ...flags].join(' ');
}

function describe({ plain, sni }: RouteQuery): string {
  if (plain) return 'plain clients';
  return sni === undefined ? 'clients without a server name' : `the server name ${sni}`;
}

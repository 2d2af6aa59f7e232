/**
 * There are two kinds of client, those that speak TLS and those that do not. Says which of them a route is
 * for.
 */
import type { RouteConfig } from '../schema/schema.ts';

/** Whether a route is for clients that speak no TLS (`plain`), or for those that do. */
export function isFor(route: RouteConfig, plain: boolean): boolean {
  if (route.tls === 'off') return plain;
  // A plain client cannot be refused for what only a ClientHello can say.
  return !plain || (route.deny !== undefined && !looksAtHello(route));
}

/** A route that denies only by address needs no hello, and must not keep clients waiting that send none. */
export function looksAtHello({ tls, deny, sni, alpn, ja4 }: RouteConfig): boolean {
  return deny ? (sni ?? alpn ?? ja4) !== undefined : tls !== 'off';
}

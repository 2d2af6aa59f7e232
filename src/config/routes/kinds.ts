/** The two kinds of client, those that speak TLS and those that do not, and which of them routes are for. */
import type { RouteConfig } from '../schema/schema.ts';

/** Whether a route is for clients that speak no TLS (`plain`), or for those that do. */
export function isFor(route: RouteConfig, plain: boolean): boolean {
  if (route.tls === 'off') return plain;
  // What a plain client cannot say, it cannot be refused for.
  return !plain || (route.deny === true && !looksAtHello(route));
}

/** Whether a listener with these routes serves plain clients at all; else they are refused before any route is asked. */
export function takesPlain(routes: readonly RouteConfig[]): boolean {
  return routes.some(({ tls }) => tls === 'off');
}

/** Whether a listener with these routes reads the ClientHello of those that send one; else every client is a plain one. */
export function takesTls(routes: readonly RouteConfig[]): boolean {
  return routes.some(looksAtHello) || !takesPlain(routes);
}

/** A route that denies by address alone needs no hello to do it, and must not keep those waiting who send none. */
function looksAtHello({ tls, deny, sni, alpn, ja4 }: RouteConfig): boolean {
  return deny ? (sni ?? alpn ?? ja4) !== undefined : tls !== 'off';
}

/** Parses the `listen` lines of a server. */
import type { Notes } from '../notes.ts';
import type { Directive } from './syntax.ts';

export type Listen = {
  readonly directive: Directive;
  readonly addresses: readonly string[];
  readonly ports: readonly number[];
  readonly tls: boolean;
  readonly acceptsProxyHeader: boolean;
  /** `[::]` takes no IPv4, unless it says so. */
  readonly onlyIpv6: boolean;
  readonly isStrange: boolean;
};

const idle =
  /^(bind|reuseport|deferred|default_server|(backlog|rcvbuf|sndbuf|so_keepalive|fastopen|setfib|accept_filter|ipv6only)(=.*)?)$/;

/** One line; none, with a note, if penstock cannot listen there. */
export function listenOf(directive: Directive, notes: Notes): Listen[] {
  const [address = '', ...options] = directive.words;
  if (options.includes('udp')) {
    notes.notCarried(directive, directive.text, 'penstock proxies TCP only');
    return [];
  }
  const [, host = '', first = '', last = first] = /^(?:(.*):)?(\d+)(?:-(\d+))?$/.exec(address) ?? [];
  const path = /^unix:(.+)$/.exec(address)?.[1];
  const count = Number(last) - Number(first) + 1;
  if (path === undefined && (first === '' || count < 1 || count > 1000 || Number(last) > 65535)) {
    notes.notCarried(directive, directive.text, 'expected an address with a port, or up to 1000 of them');
    return [];
  }
  const strange = options.filter(
    (option) => !['ssl', 'proxy_protocol'].includes(option) && !idle.test(option),
  );
  for (const option of strange) {
    notes.denied(
      directive,
      `listen ${option}`,
      'penstock has no such option, and it may turn clients away: all are refused',
    );
  }
  const shown = host === '' || host === '*' ? '0.0.0.0' : host;
  const ports = path === undefined ? Array.from({ length: count }, (_, index) => Number(first) + index) : [];
  const isIpv6 = shown === '[::]';
  return [
    {
      directive,
      addresses: path === undefined ? ports.map((port) => `${shown}:${port}`) : [`unix:${path}`],
      ports,
      tls: options.includes('ssl'),
      acceptsProxyHeader: options.includes('proxy_protocol'),
      onlyIpv6: isIpv6 && !options.includes('ipv6only=off'),
      isStrange: strange.length > 0,
    },
  ];
}

/** Those that one listener can have together; by port if rules ask for it. */
export function grouped(listens: readonly Listen[], asksForPort: boolean): Listen[][] {
  const groups = new Map<string, Listen[]>();
  for (const [index, listen] of listens.entries()) {
    const { tls, acceptsProxyHeader, onlyIpv6, isStrange } = listen;
    const key = JSON.stringify([tls, acceptsProxyHeader, onlyIpv6, isStrange, asksForPort && index]);
    groups.set(key, [...(groups.get(key) ?? []), listen]);
  }
  return [...groups.values()];
}

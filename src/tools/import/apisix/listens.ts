/** Where APISIX listens for streams: `apisix.stream_proxy.tcp` of config.yaml, or what routes suggest. */
import type { Notes, SourcePlace } from '../notes.ts';
import type { Value } from '../value.ts';
import type { Objects } from './objects.ts';

export type Listen = {
  /** '' means all IPv4 addresses. */
  readonly host: string;
  readonly ports: readonly number[];
  readonly tls: boolean;
  readonly acceptsProxyHeader: boolean;
  readonly sendsProxyHeader: boolean;
  readonly place: SourcePlace;
  /** As written. */
  readonly text: string;
  readonly value: Value | undefined;
};

/** Each entry of the settings, or without settings, each port of a route. */
export function listensOf(objects: Objects, notes: Notes): Listen[] {
  const proxy = objects.settings?.get('apisix').get('stream_proxy');
  const tcp = proxy?.get('tcp');
  if (objects.settings === undefined || tcp === undefined || tcp.items.length === 0) {
    return assumed(objects, notes);
  }
  const udp = proxy?.get('udp');
  if (udp?.raw !== undefined) notes.notCarried(udp.place, udp.name, 'penstock proxies TCP only');
  const defaults = objects.settings.get('apisix').get('proxy_protocol');
  return tcp.items.flatMap((item) => listenOf(item, defaults, notes) ?? []);
}

/** The peers whose PROXY headers are trusted: `nginx_config.stream.real_ip_from`. */
export function trustedPeers(settings: Value | undefined): string[] {
  const from = settings?.get('nginx_config').get('stream').get('real_ip_from');
  return from?.items.flatMap(({ text }) => (text === undefined || text === 'unix:' ? [] : [text])) ?? [];
}

function listenOf(item: Value, defaults: Value, notes: Notes): Listen | undefined {
  const address = item.text ?? item.get('addr').text ?? '';
  const [, host = '', first = '', last = first] = /^(?:(.*):)?(\d+)(?:-(\d+))?$/.exec(address) ?? [];
  const count = Number(last) - Number(first) + 1;
  if (first === '' || count < 1 || count > 1000 || Number(last) > 65535) {
    notes.notCarried(item.place, item.name, `"${address}" is no address with a port, or up to 1000 of them`);
    return undefined;
  }
  const option = (key: string, fallback: string) => item.get(key).raw ?? defaults.get(fallback).raw ?? false;
  return {
    host: host.replace(/^\[|\]$/g, ''),
    ports: Array.from({ length: count }, (_, index) => Number(first) + index),
    // Anything unknown, such as a variable, counts as yes, so that plain clients are refused rather than
    // admitted.
    tls: ![undefined, null, false].includes(item.get('tls').raw as undefined),
    acceptsProxyHeader: option('proxy_protocol', 'enable_tcp_pp') === true,
    sendsProxyHeader: option('proxy_protocol_to_upstream', 'enable_tcp_pp_to_upstream') === true,
    place: item.place,
    text: address,
    value: item,
  };
}

/**
 * Derived from routes alone. Assumes TLS if anything suggests it, so that plain clients are refused rather
 * than admitted.
 */
function assumed({ stream_routes, ssls }: Objects, notes: Notes): Listen[] {
  const tls =
    ssls.some(({ value }) => value.get('type').text !== 'client') ||
    stream_routes.some(({ value }) => value.get('sni').raw !== undefined);
  const ports = new Set(stream_routes.flatMap(({ value }) => value.get('server_port').number ?? []));
  const [route] = stream_routes;
  const place = { file: route?.value.place.file ?? '', line: 0 };
  const told = ports.size > 0 ? `on the ports of the routes (${[...ports].join(', ')})` : 'on port 9100';
  notes.look(
    place,
    'listeners',
    `config.yaml says where APISIX listens, and whether with TLS; assumed: ${told}, ${tls ? 'TLS' : 'no TLS'}`,
    'give config.yaml, too',
  );
  return [...(ports.size > 0 ? ports : [9100])].map((port) => ({
    host: '',
    ports: [port],
    tls,
    acceptsProxyHeader: false,
    sendsProxyHeader: false,
    place,
    text: String(port),
    value: undefined,
  }));
}

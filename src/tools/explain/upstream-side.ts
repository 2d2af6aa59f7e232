/** Where a client's bytes go, and what the upstream sees. */
import { isIP } from 'node:net';
import type { LoadedConfig } from '../../config/load.ts';
import { nameOf } from '../../config/material/describe.ts';
import { hostNameOf } from '../../config/routes/server-name.ts';
import type {
  EndpointConfig,
  ProxyProtocolOut,
  UpstreamConfig,
  UpstreamTlsConfig,
} from '../../config/schema/schema.ts';
import { ProxyError } from '../../errors.ts';
import { serverNameFor } from '../../tls/upstream/upstream-name.ts';
import { createBalancer } from '../../upstream/balance.ts';
import {
  createEndpoint,
  type Endpoint,
  expandTarget,
  isTemplate,
  parseTarget,
  type UpstreamClient,
} from '../../upstream/endpoint.ts';
import { hashKey } from '../../upstream/upstream.ts';
import { warmExtent } from '../../upstream/warm/extent.ts';
import type { AssumedClient } from '../client/assumed-client.ts';

/** What the upstream's side needs to know about the client's. */
export type Circumstances = {
  readonly client: AssumedClient;
  readonly action: 'terminate' | 'passthrough' | 'off';
  readonly agreedAlpn: string | undefined;
  /** The protocol to start before a passed-through hello. */
  readonly passedStarttls: string | undefined;
  readonly wildcardLabel: string | undefined;
};

export type UpstreamSide = ReturnType<typeof explainUpstream>['side'];

/**
 * Returns plain values, for `--json` and for the text, and the error if this client can have no endpoint at
 * all. References were checked when the configuration was loaded.
 */
export function explainUpstream(loaded: LoadedConfig, name: string, circumstances: Circumstances) {
  const config = loaded.config.upstreams[name]!; // a route that is not a denial names one
  const client: UpstreamClient = {
    sni: hostNameOf(circumstances.client.sni),
    wildcardLabel: circumstances.wildcardLabel,
    clientAddress: circumstances.client.address ?? '',
  };
  const found = config.endpoints.map((entry) => expand(entry, name, config, client));
  const { order, exact } = inOrder(
    found.flatMap(({ endpoint }) => endpoint ?? []),
    config,
    client,
  );
  const byEndpoint = new Map(found.map((it) => [it.endpoint, it]));
  const usable = order.flatMap((endpoint) => byEndpoint.get(endpoint) ?? []);
  const unusable = found.filter(({ endpoint }) => endpoint === undefined);
  const side = {
    name,
    balance: config.balance,
    /**
     * Whether this client always gets the endpoints in exactly this order; otherwise only priorities are
     * fixed.
     */
    order_is_exact: exact,
    endpoints: [...usable, ...unusable].map(describeEndpoint),
    attempts: Math.min(config.retries + 1, Math.max(1, usable.length)),
    connect_ms: config.timeouts.connect === Number.POSITIVE_INFINITY ? null : config.timeouts.connect,
    allow_addresses: config.allow_addresses ?? null,
    warm: describeWarm(config),
    starttls: config.tls?.starttls ?? circumstances.passedStarttls ?? null,
    tls: config.tls ? describeTls(config.tls, loaded) : null,
    proxy_header: config.send_proxy_protocol
      ? describeHeader(config.send_proxy_protocol, circumstances)
      : null,
  };
  return { side, failure: usable.length > 0 ? undefined : unusable[0]?.fault };
}

/** An entry of the configuration, resolved for this client: either `endpoint` or `fault` is set. */
type Found = {
  readonly entry: EndpointConfig;
  readonly endpoint?: Endpoint;
  readonly serverName?: string | undefined;
  readonly fault?: ProxyError;
};

function expand(entry: EndpointConfig, name: string, { tls }: UpstreamConfig, client: UpstreamClient): Found {
  const target = parseTarget(entry.address);
  try {
    const endpoint = createEndpoint('path' in target ? target : expandTarget(target, client), entry);
    return {
      entry,
      endpoint,
      serverName: tls && serverNameFor(tls, `upstreams.${name}.tls`, endpoint.host, client.sni),
    };
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    return { entry, fault: error };
  }
}

/** With `hash` the client determines the order; otherwise turns and loads do, which cannot be predicted. */
function inOrder(
  endpoints: readonly Endpoint[],
  config: UpstreamConfig,
  client: UpstreamClient,
): { order: readonly Endpoint[]; exact: boolean } {
  const { balance, resolve } = config;
  const key = hashKey(config, client);
  const isSpread =
    resolve.each_address &&
    endpoints.some(({ target }) => !('path' in target) && target.address === undefined);
  if (endpoints.length > 1 && (balance !== 'hash' || key === '' || isSpread)) {
    const order = [...endpoints].sort((a, b) => a.priority - b.priority);
    return {
      order,
      exact: new Set(order.map(({ priority }) => priority)).size === order.length && !isSpread,
    };
  }
  const balancer = createBalancer<Endpoint>('hash');
  const order: Endpoint[] = [];
  while (order.length < endpoints.length) {
    const left = endpoints.filter((endpoint) => !order.includes(endpoint));
    order.push(balancer(left, key)!); // one of those that are left
  }
  return { order, exact: !isSpread };
}

function describeEndpoint({ entry, endpoint, serverName, fault }: Found) {
  return {
    configured: entry.address,
    /** null if this client cannot have it; `error` says why. */
    endpoint: endpoint?.label ?? null,
    priority: entry.priority,
    weight: entry.weight,
    /** The name or address to verify. Addresses are not sent as SNI (RFC 6066 §3). */
    server_name: serverName ?? null,
    sni: serverName !== undefined && isIP(serverName) === 0 ? serverName : null,
    error: fault ? { code: fault.code, message: fault.message } : null,
  };
}

/** What is ready before the client comes; null: nothing is. */
function describeWarm(config: UpstreamConfig) {
  const { warm, endpoints } = config;
  if (warm === undefined || endpoints.every(({ address }) => isTemplate(address))) return null;
  const extent = warmExtent(config);
  return {
    connections: warm.connections,
    max_age_ms: warm.max_age,
    until: extent.until,
    /** Why not TLS as well; null: it is. */
    because: extent.until === 'tls' ? null : extent.because,
  };
}

function describeTls(tls: UpstreamTlsConfig, loaded: LoadedConfig) {
  const presented = tls.certificate === undefined ? undefined : loaded.certificates.get(tls.certificate);
  const [leaf] = presented?.pairs ?? [];
  return {
    verify: tls.verify,
    authority: tls.verify === 'full' || tls.verify === 'ca' ? tls.authority : null,
    pins: tls.pins ?? null,
    certificate: presented && leaf ? { name: presented.name, subject: nameOf(leaf.leaf) } : null,
    alpn: tls.alpn ?? null,
    min_version: tls.min_version,
    max_version: tls.max_version,
  };
}

/** `value` is what is known before the handshake; `sent` is whether this client has one. */
function describeHeader({ version, tlvs }: ProxyProtocolOut, { client, action, agreedAlpn }: Circumstances) {
  const name = hostNameOf(client.sni);
  const known = {
    authority: { value: name ?? null, sent: name !== undefined },
    alpn: { value: agreedAlpn ?? null, sent: agreedAlpn !== undefined },
    ssl: { value: null, sent: action === 'terminate' },
    unique_id: { value: null, sent: true },
    crc32c: { value: null, sent: true },
  };
  return { version, address: client.address ?? null, tlvs: tlvs.map((tlv) => ({ tlv, ...known[tlv] })) };
}

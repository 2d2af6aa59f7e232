/** PROXY headers, read and written once per connection. */
import type { Bench } from 'tinybench';
import type { ProxyProtocolOut } from '../../src/config/schema/schema.ts';
import { decodeProxyHeader } from '../../src/proxy-protocol/decode.ts';
import { encodeProxyHeader, type ProxyFacts } from '../../src/proxy-protocol/encode.ts';

const facts: ProxyFacts = {
  client: { address: '192.0.2.1', port: 53953 },
  local: { address: '203.0.113.7', port: 5432 },
  sni: 'orders.db.example.com',
  alpn: 'postgresql',
  tls: {
    version: 'TLSv1.3',
    cipher: 'TLS_AES_128_GCM_SHA256',
    clientCert: { cn: 'orders-app', verified: true },
  },
  uniqueId: '0198a2b4c6d8e0f2',
};
const overIPv6: ProxyFacts = {
  ...facts,
  client: { address: '2001:db8::1', port: 53953 },
  local: { address: '2001:db8::2', port: 5432 },
};
const v1: ProxyProtocolOut = { version: 'v1', tlvs: [] };
const v2: ProxyProtocolOut = { version: 'v2', tlvs: [] };
const v2WithTlvs: ProxyProtocolOut = {
  version: 'v2',
  tlvs: ['authority', 'alpn', 'ssl', 'unique_id', 'crc32c'],
};

/** Adds the tasks of this file. */
export function addTo(bench: Bench): void {
  const [line, header, headerWithTlvs] = [v1, v2, v2WithTlvs].map((out) => encodeProxyHeader(out, facts));
  const headerIPv6 = encodeProxyHeader(v2, overIPv6);
  bench
    .add('PROXY decode v1', () => void decodeProxyHeader(line!))
    .add('PROXY decode v2', () => void decodeProxyHeader(header!))
    .add('PROXY decode v2, IPv6', () => void decodeProxyHeader(headerIPv6))
    .add('PROXY decode v2, TLVs with CRC32C', () => void decodeProxyHeader(headerWithTlvs!))
    .add('PROXY encode v1', () => void encodeProxyHeader(v1, facts))
    .add('PROXY encode v2', () => void encodeProxyHeader(v2, facts))
    .add('PROXY encode v2, IPv6', () => void encodeProxyHeader(v2, overIPv6))
    .add('PROXY encode v2, all TLVs', () => void encodeProxyHeader(v2WithTlvs, facts));
}

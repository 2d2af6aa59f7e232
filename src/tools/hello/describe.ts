/** Describes a ClientHello. */

import { grease, isGrease, type Named, named } from '../../openssl/registries.ts';
import type { ReadHello } from '../../peek/client-hello.ts';
import { ja4 } from '../../peek/ja4.ts';
import type { Origin } from '../captures/input.ts';
import { harmless, section } from '../terminal/text.ts';
import { formatRouted, type Routed } from './route-tables.ts';

/** What `--json` prints. Lists are in the client's order, GREASE included. */
type HelloDescription = ReturnType<typeof describeHello>;

/**
 * `origin` is where it came from, as far as known; `routes` is how listeners would treat it, if any were
 * asked.
 */
export function describeHello(
  { hello, message }: ReadHello,
  { from, peer, to, time }: Origin = {},
  routes: readonly Routed[] | null = null,
) {
  return {
    from: from ?? null,
    /** The TCP peer, if a PROXY header named another client. */
    peer: peer ?? null,
    to: to ?? null,
    /** When it was captured. */
    time: time === undefined ? null : new Date(time).toISOString(),
    /** The handshake message with its header, without record headers. */
    bytes: message.length,
    sni: hello.sni ?? null,
    alpn: hello.alpn,
    ja4: ja4(hello),
    legacy_version: named('versions', [hello.legacyVersion])[0] as Named, // one in, one out
    versions: named('versions', hello.versions),
    ciphers: named('ciphers', hello.ciphers),
    groups: named('groups', hello.groups),
    signature_algorithms: named('signatureAlgorithms', hello.signatureAlgorithms),
    extensions: named('extensions', hello.extensions),
    encrypted_client_hello: hello.hasEch,
    /** null without `-c`. */
    routes,
  };
}

/** For people, within 80 columns. */
export function formatHello(description: HelloDescription): string {
  const { bytes, sni, alpn, versions, legacy_version } = description;
  const title = `ClientHello of ${bytes} bytes${whence(description)}\n`;
  return [
    title,
    section('SNI', [sni ?? 'none']),
    section('ALPN', [alpn.length === 0 ? 'none' : alpn.map(protocolName).join(', ')]),
    section('JA4', [description.ja4]),
    // Before TLS 1.3 there was only one field, with the highest version.
    section('Versions', [versions.length > 0 ? list(versions) : `${label(legacy_version)} and before`]),
    section('Ciphers', [list(description.ciphers)]),
    section('Groups', [list(description.groups)]),
    section('Signatures', [list(description.signature_algorithms)]),
    section('Extensions', [list(description.extensions)]),
    description.encrypted_client_hello
      ? section('ECH', ['offered: if it is meant, SNI is a name for show, and the real one is encrypted'])
      : '',
    description.routes ? formatRouted(description.routes) : '',
  ].join('');
}

function whence({ from, peer, to, time }: HelloDescription): string {
  const words = [
    from === null ? '' : ` from ${from}`,
    peer === null ? '' : ` by ${peer}`,
    to === null ? '' : ` to ${to}`,
    time === null ? '' : `, ${time}`,
  ];
  return words.join('');
}

function list(values: readonly Named[]): string {
  return values.length === 0 ? 'none' : values.map(label).join(', ');
}

function label({ value, name }: Named): string {
  if (name === null) return value;
  return name === grease ? `${grease} ${value}` : name;
}

/** ALPN has GREASE too: the two bytes of such a number (RFC 8701 §3.1). */
function protocolName(name: string): string {
  const isGreased = name.length === 2 && isGrease((name.charCodeAt(0) << 8) | name.charCodeAt(1));
  return isGreased ? `${grease} ${harmless(name)}` : harmless(name);
}

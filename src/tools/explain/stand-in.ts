/**
 * Builds a ClientHello for a client that is only partly known; in everything else it accepts whatever it is
 * offered.
 */
import { allNumbers, tls12, tls13 } from '../../openssl/registries.ts';
import { createHelloReader, type ReadHello } from '../../peek/client-hello.ts';
import { writeHello } from '../../peek/write-hello.ts';
import type { AssumedClient } from '../client/assumed-client.ts';

/**
 * The client's own hello, or one with what is known; undefined if no hello can express that (a name too
 * long).
 */
export function helloOf({
  hello,
  sni,
  alpn = [],
  versions = [tls13, tls12],
}: AssumedClient): ReadHello | undefined {
  if (hello) return hello;
  const offer = {
    versions: [...versions].sort((a, b) => b - a),
    ciphers: allNumbers('ciphers'),
    groups: allNumbers('groups'),
    signatureAlgorithms: allNumbers('signatureAlgorithms'),
    name: sni,
    alpn,
  };
  return createHelloReader()(writeHello(offer));
}

/** Parsing of captured ClientHellos, one classic and one post-quantum, and their fingerprint. */
import type { Bench } from 'tinybench';
import { createHelloReader } from '../../src/peek/client-hello.ts';
import { ja4 } from '../../src/peek/ja4.ts';
import { capturedHello } from '../../test/support/client-hellos.ts';

export function addTo(bench: Bench): void {
  const classic = capturedHello('curl-7.88');
  const postQuantum = capturedHello('node-26');
  const { hello } = createHelloReader()(postQuantum)!; // captured whole
  bench.add('ClientHello: parse (517 bytes)', () => {
    createHelloReader()(classic);
  });
  bench.add('ClientHello: parse (1,600 bytes, post-quantum)', () => {
    createHelloReader()(postQuantum);
  });
  bench.add('JA4', () => {
    ja4(hello);
  });
}

/** Real handshakes, and what the server's TLS socket says of the client afterwards. */
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import {
  connect,
  createServer,
  type DetailedPeerCertificate,
  type SecureVersion,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { cipherOptions } from '../../src/openssl/ciphers.ts';
import { chainErrorOf } from '../../src/tls/chain-error.ts';
import type { PeerFacts } from '../../src/tls/client-auth/client-auth.ts';
import type { Credential } from './certificates.ts';

export type Handshakes = {
  /** One connection. With `session`, it tries to resume that one; the one it ends with is returned. */
  readonly connect: (client?: {
    readonly credential?: Credential | undefined;
    readonly session?: Buffer | undefined;
    readonly version?: SecureVersion;
  }) => Promise<{ facts: PeerFacts; session: Buffer | undefined }>;
};

/** A server that asks for client certificates and lets everyone in, until the test ends. */
export async function askForCertificates(
  t: Pick<TestContext, 'after'>,
  own: Credential,
  trust: Pick<TlsOptions, 'ca' | 'crl'>,
): Promise<Handshakes> {
  const server = createServer({
    ...trust,
    cert: own.chain,
    key: own.key,
    requestCert: true,
    rejectUnauthorized: false,
    ...cipherOptions(),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return {
    async connect({ credential, session, version } = {}) {
      const client = connect({
        port,
        host: '127.0.0.1',
        ca: own.cert,
        checkServerIdentity: () => undefined,
        rejectUnauthorized: false,
        cert: credential?.chain || credential?.cert,
        key: credential?.key,
        session,
        // It may present what the server is to refuse.
        ciphers: 'DEFAULT:@SECLEVEL=0',
        ...(version ? { minVersion: version, maxVersion: version } : {}),
      });
      let latest = session;
      client.on('session', (ticket) => {
        latest = ticket;
      });
      client.resume();
      const [stream] = (await once(server, 'secureConnection')) as [TLSSocket];
      const facts = factsOf(stream);
      stream.end('done');
      await once(client, 'close');
      return { facts, session: latest };
    },
  };
}

function factsOf(stream: TLSSocket): PeerFacts {
  const chain = chainOf(stream);
  return {
    certificate: stream.getPeerX509Certificate(),
    chainError: chainErrorOf(stream),
    resumed: stream.isSessionReused(),
    chain: () => chain,
  };
}

/** What the client sent above its own certificate; there is nothing of it on a resumed session. */
function chainOf(stream: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let above: Partial<DetailedPeerCertificate> | undefined = stream.getPeerCertificate(true);
  // A root is its own issuer.
  while (above?.issuerCertificate?.raw && above.issuerCertificate !== above) {
    above = above.issuerCertificate;
    chain.push(new X509Certificate(above.raw!));
  }
  return chain;
}

/** Real handshakes, and what the server's TLS socket says of the client afterwards. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { connect, createServer, type SecureVersion, type TLSSocket, type TlsOptions } from 'node:tls';
import { cipherOptions } from '../../src/openssl/ciphers.ts';
import { chainErrorOf, sentChain } from '../../src/tls/chain-error.ts';
import type { PeerFacts } from '../../src/tls/client-auth/client-auth.ts';
import type { UpstreamPeer } from '../../src/tls/upstream/verify-upstream.ts';
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

/** What a client finds of an upstream that presents this. */
export async function factsOfUpstream(
  t: Pick<TestContext, 'after'>,
  { chain, cert, key }: Credential,
  trust: Pick<TlsOptions, 'ca' | 'crl'>,
): Promise<UpstreamPeer> {
  // It may present what is to be refused.
  const server = createServer({ cert: chain || cert, key, ciphers: 'DEFAULT:@SECLEVEL=0' });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const client = connect({
    ...trust,
    ...cipherOptions(),
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  await once(client, 'secureConnect');
  const certificate = client.getPeerX509Certificate();
  const chainError = chainErrorOf(client, certificate);
  client.end().resume();
  await once(client, 'close');
  return { certificate, chainError };
}

function factsOf(stream: TLSSocket): PeerFacts {
  const certificate = stream.getPeerX509Certificate();
  const chain = certificate ? sentChain(certificate) : [];
  return {
    certificate,
    chainError: chainErrorOf(stream, certificate),
    resumed: stream.isSessionReused(),
    chain: () => chain,
  };
}

/** Real handshakes, and what the server's TLS socket says of the client afterwards. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { connect, createServer, type SecureVersion, type TLSSocket, type TlsOptions } from 'node:tls';
import type { PeerFacts } from '../../src/tls/client-auth.ts';
import { peerChain } from '../../src/tls/issuers.ts';
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
  const chain = peerChain(stream);
  return {
    certificate: stream.getPeerX509Certificate(),
    chainError: stream.authorized ? undefined : String(stream.authorizationError),
    resumed: stream.isSessionReused(),
    chain: () => chain,
  };
}

/** The beginning of a handshake, as the serving code answers it: a client's hello goes in, and no network is needed. */
import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { ProxyError } from '../../errors.ts';
import { registeredName } from '../../openssl/registries.ts';
import type { ReadHello } from '../../peek/client-hello.ts';
import { contentTypes, messageTypes, splitMessages, splitRecords } from '../../peek/records.ts';
import { readServerHello } from '../../peek/server-hello.ts';
import { recordsOf } from '../../peek/write-hello.ts';
import type { TlsPolicy } from '../../tls/server/terminate.ts';

/** What server and client would agree on: `1.3`, and the suite by OpenSSL's name. */
export type Agreement = { readonly version: string; readonly cipher: string };

/**
 * Hands the hello to the policy as a connection would. Resolves with what the server agreed to, or with the error that the
 * handshake ends with. Nothing is decided of the client's certificate, which comes later.
 */
export async function rehearse(
  policy: TlsPolicy,
  { hello, message }: ReadHello,
): Promise<Agreement | ProxyError> {
  const [client, server] = duplexPair();
  server.pause();
  client.on('error', () => {});
  server.on('error', () => {});
  try {
    client.write(recordsOf(message));
    // The handshake needs of a socket what any stream has.
    const outcome = policy.handshake(server as unknown as Socket, hello);
    const answer = new Promise<Buffer>((resolve) => client.once('data', resolve));
    const failure = outcome.then(
      () => undefined,
      (error: unknown) => error,
    );
    const first = await Promise.race([answer, failure]);
    const agreed = Buffer.isBuffer(first) ? readAgreement(first) : undefined;
    if (agreed) return agreed;
    // The alert comes before its reason.
    const error = await failure;
    if (error instanceof ProxyError) return error;
    throw error;
  } finally {
    client.destroy();
    server.destroy();
  }
}

/** Undefined for an alert. */
function readAgreement(bytes: Buffer): Agreement | undefined {
  const records = splitRecords(bytes).filter(({ type }) => type === contentTypes.handshake);
  const [first] = splitMessages(Buffer.concat(records.map(({ body }) => body)));
  if (first?.type !== messageTypes.serverHello) return undefined;
  const { version, cipher } = readServerHello(first.body);
  return {
    version: registeredName('versions', version).replace('TLS ', ''),
    cipher: registeredName('ciphers', cipher),
  };
}

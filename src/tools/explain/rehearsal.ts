/** Rehearses the beginning of a handshake: feeds a client's hello to the serving code, without a network. */
import type { Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { ProxyError } from '../../errors.ts';
import { registeredName } from '../../openssl/registries.ts';
import type { ReadHello } from '../../peek/client-hello.ts';
import { contentTypes, messageTypes, splitMessages, splitRecords } from '../../peek/records.ts';
import { readServerHello } from '../../peek/server-hello.ts';
import { recordsOf } from '../../peek/write-hello.ts';
import type { TlsPolicy } from '../../tls/server/terminate.ts';

/** What server and client would negotiate: `1.3`, and OpenSSL's name of the suite. */
export type Agreement = { readonly version: string; readonly cipher: string };

/**
 * Passes the hello to the policy as a connection would. Resolves with what the server negotiated, or with the
 * error that ends the handshake. Does not cover the client's certificate, which comes later.
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
    // The handshake uses only stream features of the socket.
    const outcome = policy.handshake(server as unknown as Socket, hello);
    const answer = new Promise<Buffer>((resolve) => client.once('data', resolve));
    const failure = outcome.then(
      () => undefined,
      (error: unknown) => error,
    );
    const first = await Promise.race([answer, failure]);
    const agreed = Buffer.isBuffer(first) ? readAgreement(first) : undefined;
    if (agreed) return agreed;
    // The alert arrives before its reason.
    const error = await failure;
    if (error instanceof ProxyError) return error;
    throw error;
  } finally {
    client.destroy();
    server.destroy();
  }
}

/** undefined if the bytes are an alert. */
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

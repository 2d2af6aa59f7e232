/** What OpenSSL, by way of Node, does with a ClientHello that comes over a socket. */
import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { createServer } from 'node:tls';
import type { Credential } from '../../support/certificates.ts';

export type OpensslReading = {
  /** `hello`: it answers with one of its own; an alert's number; `silence`: it waits for more, or just closes. */
  readonly answer: 'hello' | 'silence' | number;
  /** undefined: it did not come to ask for it. */
  readonly name: string | false | undefined;
  /** Seven bits of each character: Node gives no more. */
  readonly alpn: readonly string[] | undefined;
};

export type Openssl = {
  /** One at a time. */
  read(wire: Buffer): Promise<OpensslReading>;
  close(): void;
};

/** A server that takes all that OpenSSL can, from TLS 1.0 on. */
export async function startOpenssl({ cert, key }: Credential): Promise<Openssl> {
  let name: OpensslReading['name'];
  let alpn: OpensslReading['alpn'];
  const server = createServer({
    cert,
    key,
    minVersion: 'TLSv1',
    ciphers: 'ALL:@SECLEVEL=0',
    SNICallback(servername, answer) {
      name = servername;
      answer(null);
    },
    ALPNCallback({ protocols, servername }) {
      name = servername;
      alpn = protocols;
      return protocols[0];
    },
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    close: () => server.close(),
    async read(wire) {
      name = undefined;
      alpn = undefined;
      const client = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
      client.on('error', () => client.destroy());
      let answer: OpensslReading['answer'] = 'silence';
      client.once('data', (bytes: Buffer) => {
        // ContentType handshake(22), or alert(21): level and description follow the record's header of 5 bytes.
        answer = bytes[0] === 22 ? 'hello' : (bytes[6] ?? 'silence');
        client.destroy();
      });
      client.once('end', () => client.destroy());
      // With nothing more to come, it has to answer or to close.
      client.end(wire);
      await once(client, 'close');
      return { answer, name, alpn };
    },
  };
}

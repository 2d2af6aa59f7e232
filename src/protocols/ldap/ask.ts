/** Asks an LDAP server for TLS, RFC 4511 §4.14. */

import type { ProxyError } from '../../errors.ts';
import type { Peek } from '../../peek/peek.ts';
import { noTls, serverFault } from '../faults.ts';
import { encodeStartTls, type Message, operations, readMessage, resultCodeIn, results } from './messages.ts';

const id = Buffer.of(1);
const request = encodeStartTls(id);

export async function ask(server: Peek): Promise<undefined> {
  server.write(request);
  const { length } = await server.read(readAnswer);
  server.drop(length);
}

/**
 * The answer, once it is complete; undefined before. Throws ERR_UPSTREAM_STARTTLS_REFUSED for a "no",
 * ERR_UPSTREAM_STARTTLS_INVALID for anything else.
 */
export function readAnswer(bytes: Buffer): Message | undefined {
  const message = readMessage(bytes, invalid);
  if (message === undefined) return undefined;
  const { operation } = message;
  const code = operation.tag === operations.extendedResponse ? resultCodeIn(operation) : undefined;
  if (code === undefined) throw invalid('answers StartTLS with something else');
  const isNotice = message.id.every((byte) => byte === 0);
  if (isNotice || code !== results.success) throw no(code, isNotice);
  if (!message.id.equals(id)) throw invalid('answers a request that was not made');
  return message;
}

function no(code: number, isNotice: boolean): ProxyError {
  return noTls(
    isNotice
      ? `the server turns the connection away (result ${code})`
      : `the server answers StartTLS with result ${code}`,
    'give the server a certificate (olcTLSCertificateFile), or reach it in plain text by taking tls out of the upstream',
  );
}

const invalid = serverFault(
  'check that the endpoint is an LDAP server; one that begins with TLS (port 636) is reached without starttls',
);

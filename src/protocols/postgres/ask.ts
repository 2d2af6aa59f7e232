/** Asks a PostgreSQL server for TLS. */
import type { Peek } from '../../peek/peek.ts';
import { readSslAnswer, sslRequest } from './preamble.ts';

/** SSLRequest, and exactly one byte of answer. */
export async function ask(server: Peek): Promise<undefined> {
  server.write(sslRequest);
  await server.read(readSslAnswer);
  server.drop(1);
}

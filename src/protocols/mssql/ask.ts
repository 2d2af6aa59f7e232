/** Asks a SQL Server for TLS, or for none, by PRELOGIN. */
import { type Code, ProxyError } from '../../errors.ts';
import type { Peek } from '../../peek/peek.ts';
import { noTls } from '../faults.ts';
import type { Greeting } from '../protocol.ts';
import { readPacket, types } from './packets.ts';
import { encodePrelogin, encryption, encryptionIn, type Options, options, optionsIn } from './prelogin.ts';

/** What we say without a client to say it for. */
export const ownOptions: Options = new Map([
  [options.version, Buffer.from([16, 0, 0, 0, 0, 0])],
  [options.encryption, Buffer.of(encryption.on)],
  [options.instance, Buffer.alloc(1)],
  [options.thread, Buffer.alloc(4)],
  [options.mars, Buffer.alloc(1)],
]);

/** All of the session within TLS. Returns the server's answer. */
export async function ask(server: Peek, client: Options = ownOptions): Promise<Greeting> {
  const { said, answer } = await prelogin(server, client, encryption.on);
  if (said === encryption.on || said === encryption.required) return answer;
  throw noTls(
    'the server answers PRELOGIN that it has no TLS',
    'give the server a certificate, or reach it in plain text by taking tls out of the upstream',
  );
}

/** Nothing within TLS. */
export async function askForNone(server: Peek, client: Options): Promise<undefined> {
  const { said } = await prelogin(server, client, encryption.none);
  if (said === encryption.none || said === encryption.off) return;
  throw new ProxyError('ERR_UPSTREAM_CONNECT', {
    side: 'upstream',
    message: 'the server answers PRELOGIN that it requires TLS',
    hint: 'give the upstream `tls: { starttls: mssql }`',
  });
}

/** Says PRELOGIN with these options and this wish; the server's, and all of its answer. */
export async function prelogin(
  server: Peek,
  client: Options,
  wish: number,
  code: Code = 'ERR_UPSTREAM_STARTTLS_INVALID',
): Promise<{ said: number; answer: Buffer }> {
  server.write(encodePrelogin(types.prelogin, new Map([...client, [options.encryption, Buffer.of(wish)]])));
  const answer = await server.read((bytes) => readAnswer(bytes, code));
  server.drop(answer.length);
  return answer.read;
}

/** A server's answer to PRELOGIN, once it is complete. Throws an error of this code for anything else. */
export function readAnswer(
  bytes: Buffer,
  code: Code,
): { length: number; read: { said: number; answer: Buffer } } | undefined {
  const fault = (what: string) => invalid(code, what);
  const packet = readPacket(bytes, [types.answer], fault);
  if (packet === undefined) return undefined;
  const { isLast, payload, length } = packet;
  const found = isLast ? optionsIn(payload) : undefined;
  if (found === undefined) throw fault('answers PRELOGIN with something else');
  return { length, read: { said: encryptionIn(found), answer: Buffer.from(bytes.subarray(0, length)) } };
}

function invalid(code: Code, what: string): ProxyError {
  return new ProxyError(code, {
    side: 'upstream',
    message: `the server ${what}`,
    hint: 'check that the endpoint is a SQL Server; TDS 8, which begins with TLS, is reached without starttls',
  });
}

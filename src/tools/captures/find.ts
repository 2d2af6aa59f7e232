/**
 * Finds the ClientHello in what a client sent: at the beginning, or after a PROXY header or any protocol's
 * STARTTLS.
 */

import { ProxyError } from '../../errors.ts';
import type { Address } from '../../net/address.ts';
import { createHelloReader, type ReadHello } from '../../peek/client-hello.ts';
import { maxHelloBytes } from '../../peek/hello-records.ts';
import { decodeProxyHeader } from '../../proxy-protocol/decode.ts';

/** `client` is the one named by a PROXY header at the very beginning. */
export type FoundHello = ReadHello & { readonly client: Address | undefined };

/** What protocols say before they start TLS is short. */
const maxBefore = 4096;

/** No more of a client's bytes need to be kept. */
export const maxSought: number = maxBefore + maxHelloBytes;

/**
 * The first ClientHello in the bytes so far; undefined if there is none yet. If there can be none, throws the
 * error of parsing the first bytes as a hello.
 */
export function findHello(bytes: Buffer): FoundHello | undefined {
  let unfinished = false;
  let fault: ProxyError | undefined;
  for (const at of beginnings(bytes)) {
    try {
      const read = createHelloReader()(bytes.subarray(at));
      if (read) return { ...read, client: proxiedClient(bytes, at) };
      unfinished = true;
    } catch (error) {
      if (!(error instanceof ProxyError)) throw error;
      fault ??= error;
    }
  }
  if (!unfinished && bytes.length >= maxBefore && fault) throw fault;
  return undefined;
}

/** Why complete input, in which `findHello` found nothing, has no hello. */
export function whyNoHello(bytes: Buffer): ProxyError {
  const [beginning = 0] = [...beginnings(bytes)].filter((at) => looksLikeHello(bytes, at));
  try {
    createHelloReader()(bytes.subarray(beginning));
  } catch (error) {
    if (error instanceof ProxyError) return error;
    throw error;
  }
  const message =
    bytes.length === 0
      ? 'there is nothing to decode'
      : `the ClientHello is cut short: ${bytes.length - beginning} bytes are not all of it`;
  return new ProxyError('ERR_CLIENT_HELLO_INVALID', { side: 'client', message });
}

/** Whether a ClientHello, well-formed or not, begins somewhere in these bytes. */
export function hasHello(bytes: Buffer): boolean {
  for (const at of beginnings(bytes)) if (looksLikeHello(bytes, at)) return true;
  return false;
}

function* beginnings(bytes: Buffer): Generator<number> {
  yield 0;
  for (let at = 1; at < Math.min(bytes.length, maxBefore); at++) if (looksLikeHello(bytes, at)) yield at;
}

// struct { ContentType type = 22; version = 3.x; uint16 length; } record
// struct { msg_type = 1; uint24 length < 2^16; } handshake
function looksLikeHello(bytes: Buffer, at: number): boolean {
  return (
    bytes[at] === 22 &&
    bytes[at + 1] === 3 &&
    (bytes[at + 2] ?? 0) <= 4 &&
    (bytes[at + 5] ?? 1) === 1 &&
    (bytes[at + 6] ?? 0) === 0
  );
}

function proxiedClient(bytes: Buffer, end: number): Address | undefined {
  if (end === 0) return undefined;
  try {
    return decodeProxyHeader(bytes.subarray(0, end))?.client;
  } catch (error) {
    if (error instanceof ProxyError) return undefined;
    throw error;
  }
}

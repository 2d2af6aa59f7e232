/** Reads and writes NATS's INFO: `INFO {"server_id":"…",…} \r\n`. Pure: bytes in, bytes out. */
import { serverFault } from '../faults.ts';

/** Far more than a server needs that lists a large cluster. */
export const maxInfo = 32 * 1024;

type Info = Readonly<Record<string, unknown>>;

/**
 * The complete line, given all that has arrived; undefined if more is needed. Throws
 * ERR_UPSTREAM_STARTTLS_INVALID for anything that cannot become a line of at most `maxInfo` bytes.
 */
export function readInfo(bytes: Buffer): Buffer | undefined {
  const start = bytes.subarray(0, prefix.length);
  if (!prefix.subarray(0, start.length).equals(start)) throw invalid('does not begin with INFO');
  const end = bytes.indexOf('\n');
  if (end === -1 && bytes.length < maxInfo) return undefined;
  if (end === -1 || end >= maxInfo) throw invalid(`sends an INFO of more than ${maxInfo} bytes`);
  if (bytes[end - 1] !== 0x0d) throw invalid('ends its INFO without CR LF');
  const line = bytes.subarray(0, end + 1);
  infoIn(line);
  return line;
}

const prefix = Buffer.from('INFO ');

/** The contents of a complete line. */
export function infoIn(line: Buffer): Info {
  const fields = parsed(line.toString('utf8', prefix.length));
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw invalid('sends an INFO that is not a JSON object');
  }
  return fields as Info;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * A server's INFO, changed to what is true for our client, however we reach the server. Inside TLS, clients
 * hang up unless it says `tls_required` or `tls_available`; in plain text, those would make them ask us for a
 * TLS that their route does not have.
 */
export function infoFor(line: Buffer, isSecure: boolean): Buffer {
  const { tls_required: _, tls_available: __, tls_verify: ___, ...info } = infoIn(line);
  return encodeInfo(isSecure ? { ...info, tls_required: true } : info);
}

export function encodeInfo(info: Info): Buffer {
  return Buffer.from(`INFO ${JSON.stringify(info)} \r\n`);
}

const invalid = serverFault(
  'check that the endpoint is a NATS server; one that begins with TLS (handshake_first) is reached without starttls',
);

/** NATS's INFO, read and written: pure, bytes in and bytes out. `INFO {"server_id":"…",…} \r\n` */
import { ProxyError } from '../../errors.ts';

/** Far more than that of a server that lists a large cluster. */
export const maxInfo = 32 * 1024;

type Info = Readonly<Record<string, unknown>>;

/**
 * The whole line, given all that has arrived; undefined: more is needed. Throws ERR_UPSTREAM_STARTTLS_INVALID for anything that cannot
 * become one of at most `maxInfo` bytes.
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

/** What a whole line says. */
export function infoIn(line: Buffer): Info {
  const fields = parsed(line.toString('utf8', prefix.length));
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw invalid('sends an INFO that is no JSON object');
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
 * A server's INFO as it is true for a client of ours, whatever leads from us to the server. Within TLS clients hang up unless it says
 * `tls_required` or `tls_available`; in plain text they would ask us for a TLS that their route does not have.
 */
export function infoFor(line: Buffer, isSecure: boolean): Buffer {
  const { tls_required: _, tls_available: __, tls_verify: ___, ...info } = infoIn(line);
  return encodeInfo(isSecure ? { ...info, tls_required: true } : info);
}

export function encodeInfo(info: Info): Buffer {
  return Buffer.from(`INFO ${JSON.stringify(info)} \r\n`);
}

function invalid(what: string): ProxyError {
  return new ProxyError('ERR_UPSTREAM_STARTTLS_INVALID', {
    side: 'upstream',
    message: `the server ${what}`,
    hint: 'check that the endpoint is a NATS server; one that begins with TLS (handshake_first) is reached without starttls',
  });
}

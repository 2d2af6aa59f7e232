/**
 * What a PostgreSQL server's first answer says about its health. Pure: bytes in, bytes out. PostgreSQL's
 * documentation, "Frontend/Backend Protocol": "Message Formats" and appendix "Error Codes".
 */
import { unhealthy } from '../faults.ts';

/** A StartupMessage of protocol 3.0, for a role that need not exist: any working server answers it. */
export const startupMessage: Buffer = encodeStartup({
  user: 'penstock',
  database: 'postgres',
  application_name: 'penstock health check',
});

/** Ends a session. */
export const terminate: Buffer = Buffer.from([0x58, 0, 0, 0, 4]);

const maxAnswer = 64 * 1024;

/**
 * Whether the server works, given all that has arrived since the StartupMessage; undefined if more is needed.
 * The same rule as `pg_isready`: it works if it asks for authentication, or refuses with any SQLSTATE except
 * those of a server that is starting up, shutting down or recovering (57P01 to 57P03). A server that has no
 * connections left (53300) works. Otherwise throws ERR_UPSTREAM_DOWN.
 */
export function readStartupAnswer(bytes: Buffer): 'works' | undefined {
  // Byte1 type, Int32 length, itself included
  if (bytes.length < 5) return undefined;
  const length = bytes.readUInt32BE(1);
  if (length < 4 || length > maxAnswer) throw unhealthy('answers something that is not PostgreSQL');
  switch (bytes[0]) {
    case 0x52: // 'R', Authentication…
    case 0x76: // 'v', NegotiateProtocolVersion, which precedes it
      return 'works';
    case 0x45: // 'E', ErrorResponse
      return bytes.length < length + 1 ? undefined : judgeError(bytes.subarray(5, length + 1));
    default:
      throw unhealthy('answers something that is not PostgreSQL');
  }
}

function judgeError(fields: Buffer): 'works' {
  // { Byte1 type, String value } …, Byte1(0)
  const state = fields
    .toString('latin1')
    .split('\0')
    .find((field) => /^C[0-9A-Z]{5}$/.test(field))
    ?.slice(1);
  // The texts in it are the server's, so we pass none of them on.
  if (state === undefined) throw unhealthy('answers with an error that has no SQLSTATE');
  if (/^57P0[123]$/.test(state)) throw unhealthy(`is starting up, shutting down or recovering (${state})`);
  return 'works';
}

function encodeStartup(parameters: Readonly<Record<string, string>>): Buffer {
  // Int32 length, Int32 protocol version 3.0, { String name, String value } …, Byte1(0)
  const text = Object.entries(parameters).flat().join('\0');
  const message = Buffer.from(`\0\0\0\0\0\x03\0\0${text}\0\0`, 'latin1');
  message.writeUInt32BE(message.length);
  return message;
}

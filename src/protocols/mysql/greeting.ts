/** The greeting with which servers begin: theirs is read, and ours written in its place. Pure. */
import { randomBytes } from 'node:crypto';
import type { ProxyError } from '../../errors.ts';
import { type Fault, noTls, serverFault } from '../faults.ts';
import { can } from './capabilities.ts';
import { encodePacket, errorCodeIn, readPacket, readText } from './packets.ts';

export type ServerGreeting = {
  readonly version: string;
  /** The number of the session. */
  readonly threadId: number;
  readonly capabilities: number;
  /** How to log in, unless the account says otherwise. */
  readonly plugin: string;
  /** What passwords are hashed with. */
  readonly nonce: Buffer;
};

/** A greeting has about 100 bytes, and an error that comes instead has 512 bytes of text at most. */
const maxGreeting = 1024;

/**
 * The complete packet of a server's greeting, given all that has arrived; undefined if more is needed. Throws
 * ERR_UPSTREAM_STARTTLS_REFUSED if the server turns us away, and ERR_UPSTREAM_STARTTLS_INVALID for whatever
 * is not a greeting.
 */
export function readGreeting(bytes: Buffer): Buffer | undefined {
  const packet = readPacket(bytes, invalid, maxGreeting);
  if (bytes.length > 3 && bytes[3] !== 0) throw invalid('does not begin with a greeting');
  if (bytes.length > 4 && bytes[4] !== protocolVersion && bytes[4] !== 0xff) {
    throw invalid('does not begin with a greeting');
  }
  if (packet === undefined) return undefined;
  const { payload, length } = packet;
  if (payload[0] === 0xff) throw turnedAway(errorCodeIn(payload));
  greetingIn(bytes.subarray(0, length));
  return bytes.subarray(0, length);
}

const protocolVersion = 10;

/** The contents of a complete greeting. */
export function greetingIn(packet: Buffer): ServerGreeting {
  // int<1> protocol_version = 10; string<NUL> server_version; int<4> thread_id; string[8] auth_data_1;
  // int<1> 0; int<2> capabilities (low); int<1> character_set; int<2> status; int<2> capabilities (high);
  // int<1> auth_data_length; string[10] reserved; string[max(13, length - 8)] auth_data_2; string<NUL> plugin
  const payload = packet.subarray(4);
  const version = readText(payload, 1);
  if (payload[0] !== protocolVersion || version === undefined) throw invalid('sends no complete greeting');
  const at = 1 + version.length + 1;
  if (payload.length < at + 31 + 12) throw invalid('sends a greeting that is too short');
  const capabilities = payload.readUInt16LE(at + 13) | (payload.readUInt16LE(at + 18) << 16);
  const rest = Math.max(13, payload.readUInt8(at + 20) - 8);
  const second = payload.subarray(at + 31, at + 31 + rest);
  const nonce = Buffer.concat([payload.subarray(at + 4, at + 12), second]);
  const named = capabilities & can.pluginAuth ? payload.subarray(at + 31 + rest) : Buffer.from(fallback);
  return {
    version: version.toString('latin1'),
    threadId: payload.readUInt32LE(at),
    capabilities,
    plugin: (readText(named, 0) ?? named).toString('latin1') || fallback,
    nonce: nonce.at(-1) === 0 ? nonce.subarray(0, -1) : nonce,
  };
}

/** What there was before servers named their plugin. */
const fallback = 'mysql_native_password';

/**
 * The greeting that our clients read. Its nonce is our own, so whatever a client computes from it is of no
 * use anywhere. So is the thread id, and no server's: a client that wants to kill its own query by the id
 * that it was given must not kill a stranger's.
 */
export function encodeGreeting({
  version,
  threadId,
  capabilities,
}: Pick<ServerGreeting, 'version' | 'threadId' | 'capabilities'>): Buffer {
  const nonce = freshNonce();
  const fixed = Buffer.alloc(31);
  fixed.writeUInt32LE(threadId, 0);
  nonce.copy(fixed, 4, 0, 8);
  fixed.writeUInt16LE(capabilities & 0xffff, 13);
  fixed.writeUInt8(utf8mb4, 15);
  fixed.writeUInt16LE(autocommit, 16);
  fixed.writeUInt16LE(capabilities >>> 16, 18);
  fixed.writeUInt8(nonce.length + 1, 20);
  return encodePacket(
    0,
    Buffer.concat([
      Buffer.from([protocolVersion]),
      Buffer.from(`${version}\0`, 'latin1'),
      fixed,
      nonce.subarray(8),
      Buffer.from(`\0${fallback}\0`),
    ]),
  );
}

const utf8mb4 = 45;
const autocommit = 2;

/** 20 bytes without NUL, because clients take the nonce for a text. */
function freshNonce(): Buffer {
  return randomBytes(20).map((byte) => 0x40 + (byte & 0x3f)) as Buffer;
}

export const invalid: Fault = serverFault(
  'check that the endpoint is a MySQL or MariaDB server, and what is between it and penstock',
);

/** Its text is unauthenticated, so we pass none of it on. */
function turnedAway(code: number): ProxyError {
  return noTls(
    `the server turned us away with error ${code} in place of its greeting`,
    hints[code] ?? "the server's list of errors explains it",
  );
}

const hints: Readonly<Record<number, string>> = {
  1040: 'it has no connections left: raise max_connections there, or set limits.connections here',
  1129: 'it has shut out this host after too many broken connections: FLUSH HOSTS there, and raise max_connect_errors',
  1130: 'no account may connect from this address',
};

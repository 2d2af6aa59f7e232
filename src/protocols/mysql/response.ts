/** What clients answer to a greeting: a request for TLS, or their login. Pure: bytes in, bytes out. */
import { ProxyError } from '../../errors.ts';
import { contentTypes } from '../../peek/records.ts';
import { clientFault, type Fault, onlyFor } from '../faults.ts';
import { can, needed } from './capabilities.ts';
import { encodePacket, readPacket, readText } from './packets.ts';

/**
 * A login (HandshakeResponse41), without what proves it: that was computed from our nonce, and the server
 * gets a proof computed from its own.
 */
export type Login = {
  /** Its first 32 bytes, with which a request for TLS begins as well: capabilities, sizes, character set. */
  readonly head: Buffer;
  readonly capabilities: number;
  readonly user: Buffer;
  readonly database: Buffer | undefined;
  /** As sent, with its length. */
  readonly attributes: Buffer;
  /** At which level packets are compressed, if they are by zstd. */
  readonly zstdLevel: number;
};

/** The length of an answer is that of its packet. */
export type Answer =
  | { readonly kind: 'ssl_request'; readonly head: Buffer; readonly length: number }
  | { readonly kind: 'login'; readonly login: Login; readonly length: number };

// int<4> capabilities; int<4> max_packet_size; int<1> character_set; string[23] reserved
const headLength = 32;

/**
 * The answer to our greeting, with this number, given all that has arrived; undefined if more is needed.
 * Throws ERR_STARTTLS_INVALID for anything else, and ERR_STARTTLS_STUFFED if a request for TLS is followed
 * by something that cannot be a ClientHello. (The ClientHello itself may be in the same segment: there is no
 * answer that clients would have to wait for.)
 */
export function readAnswer(bytes: Buffer, sequence: number): Answer | undefined {
  const packet = readPacket(bytes, invalid);
  // A wrong number shows at once that this is another protocol.
  if (bytes.length > 3 && bytes[3] !== sequence) throw invalid('does not answer the greeting');
  if (packet === undefined) return undefined;
  const { payload, length } = packet;
  if (payload.length < headLength) throw invalid('is older than protocol 4.1, or does not speak MySQL');
  const head = payload.subarray(0, headLength);
  const capabilities = head.readInt32LE(0);
  if (payload.length === headLength) {
    if (!(capabilities & can.ssl)) throw invalid('sends a login without a user');
    if (bytes.length > length && bytes[length] !== contentTypes.handshake) throw stuffed();
    return { kind: 'ssl_request', head, length };
  }
  return { kind: 'login', login: loginIn(payload, capabilities), length };
}

function loginIn(payload: Buffer, capabilities: number): Login {
  if ((capabilities & needed) !== needed) {
    throw invalid('cannot be asked to authenticate again (CLIENT_PLUGIN_AUTH): it is too old');
  }
  // string<NUL> username; length and auth_response; string<NUL> database; string<NUL> plugin; attributes;
  // int<1> zstd_compression_level
  const user = text(payload, headLength);
  const proofAt = headLength + user.length + 1;
  const proof =
    capabilities & can.longAuthData ? lengthAt(payload, proofAt) : shortLengthAt(payload, proofAt);
  let at = proof.end + proof.value;
  if (at > payload.length) throw invalid('sends a login that ends too early');
  const database = capabilities & can.connectWithDatabase ? text(payload, at) : undefined;
  if (database) at += database.length + 1;
  // The plugin: what follows it is found by its end.
  const plugin = readText(payload, at) ?? payload.subarray(at);
  at = Math.min(at + plugin.length + 1, payload.length);
  let attributes = Buffer.alloc(0);
  if (capabilities & can.attributes && at < payload.length) {
    const { end, value } = lengthAt(payload, at);
    if (end + value > payload.length) throw invalid('sends attributes that end too early');
    attributes = Buffer.from(payload.subarray(at, end + value));
    at = end + value;
  }
  const zstdLevel = payload[at] ?? 0;
  return { head: payload.subarray(0, headLength), capabilities, user, database, attributes, zstdLevel };
}

function text(payload: Buffer, at: number): Buffer {
  const found = readText(payload, at);
  if (found === undefined) throw invalid('sends a login that ends too early');
  return found;
}

/** A length, and where what it measures begins. */
type Length = { readonly value: number; readonly end: number };

function shortLengthAt(payload: Buffer, at: number): Length {
  const value = payload[at];
  if (value === undefined) throw invalid('sends a login that ends too early');
  return { value, end: at + 1 };
}

/** int<lenenc>: up to 250 in one byte, or 0xfc and two bytes. Longer ones do not fit in a packet here. */
function lengthAt(payload: Buffer, at: number): Length {
  const short = shortLengthAt(payload, at);
  if (short.value <= 250) return short;
  if (short.value !== 0xfc || at + 3 > payload.length) throw invalid('sends an impossible length');
  return { value: payload.readUInt16LE(at + 1), end: at + 3 };
}

/**
 * The same client's request for TLS, or the beginning of its login, with these capabilities. Servers take
 * capabilities and character set from the request alone, so it must say what the login will.
 */
export function headWith(head: Buffer, capabilities: number): Buffer {
  const own = Buffer.from(head);
  own.writeInt32LE(capabilities, 0);
  // MariaDB's own capabilities: our greeting offers none.
  own.fill(0, 9);
  return own;
}

/**
 * The login as the server shall have it. The proof has at most 250 bytes: so its length is one byte, whatever
 * the form of it.
 */
export function encodeLogin(
  sequence: number,
  login: Login,
  { capabilities, plugin, proof }: { capabilities: number; plugin: string; proof: Buffer },
): Buffer {
  const { head, user, database, attributes, zstdLevel } = login;
  const nul = Buffer.alloc(1);
  return encodePacket(
    sequence,
    Buffer.concat([
      headWith(head, capabilities),
      user,
      nul,
      Buffer.from([proof.length]),
      proof,
      ...(database && capabilities & can.connectWithDatabase ? [database, nul] : []),
      Buffer.from(`${plugin}\0`, 'latin1'),
      ...(capabilities & can.attributes ? [attributes.length > 0 ? attributes : nul] : []),
      ...(capabilities & can.zstd ? [Buffer.from([zstdLevel])] : []),
    ]),
  );
}

export const invalid: Fault = clientFault(onlyFor('mysql'));

function stuffed(): ProxyError {
  return new ProxyError('ERR_STARTTLS_STUFFED', {
    side: 'client',
    message: 'the client sent something other than a ClientHello behind its request for TLS',
    hint: 'this is how plain text is smuggled into a protected session (CVE-2021-23222)',
  });
}

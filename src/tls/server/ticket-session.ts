/**
 * Reads what a TLS session remembers: in tickets made with our own keys, to judge a session before OpenSSL
 * resumes it, and in the session of a finished handshake.
 */
import { createDecipheriv, createHmac, timingSafeEqual } from 'node:crypto';
import { contents, type Element, readChildren, readElement, tags, whole } from '../../x509/der.ts';

/** What a session remembers about the full handshake it began with. */
export type TicketSession = {
  /** The client's certificate in DER; undefined if it presented none. */
  readonly certificate: Buffer | undefined;
  /** Whether OpenSSL verified that certificate's chain. */
  readonly verified: boolean;
};

/** The name of the keys that a ticket was made with, one character per byte (latin1). */
export function ticketName(ticket: Buffer): string {
  return ticket.toString('latin1', 0, parts.name);
}

/**
 * Opens a ticket with the 48 bytes of Node's `ticketKeys`: 16 of name, 16 of HMAC key, 16 of AES
 * key. Undefined if other keys made it, or if its contents cannot be read. Takes about as long as
 * OpenSSL, which opens it once more.
 */
export function openTicket(ticket: Buffer, keys: Buffer): TicketSession | undefined {
  // struct { opaque key_name[16]; opaque iv[16]; opaque encrypted_state<…>; opaque mac[32]; } ticket;
  // RFC 5077 §4
  const macAt = ticket.length - parts.mac;
  const stateAt = parts.name + parts.iv;
  if (macAt <= stateAt || (macAt - stateAt) % parts.block !== 0) return undefined;
  const mac = createHmac('sha256', keys.subarray(16, 32)).update(ticket.subarray(0, macAt)).digest();
  if (!timingSafeEqual(mac, ticket.subarray(macAt))) return undefined;
  try {
    const decipher = createDecipheriv('aes-128-cbc', keys.subarray(32), ticket.subarray(parts.name, stateAt));
    return readSession(Buffer.concat([decipher.update(ticket.subarray(stateAt, macAt)), decipher.final()]));
  } catch {
    // Made with our keys, but by an OpenSSL that writes sessions differently. It
    // is judged after it is resumed.
    return undefined;
  }
}

const parts = { name: 16, iv: 16, mac: 32, block: 16 } as const;

/**
 * What this session, as `TLSSocket.getSession()` returns it, remembers; undefined if it cannot be read. It is
 * wiped, since it holds the secret that resumes it.
 */
export function readAndWipe(session: Buffer): TicketSession | undefined {
  try {
    const { certificate, verified } = readSession(session);
    return { certificate: certificate && Buffer.from(certificate), verified };
  } catch {
    return undefined;
  } finally {
    session.fill(0);
  }
}

// SSL_SESSION_ASN1 ::= SEQUENCE {
//   version INTEGER, ssl_version INTEGER, cipher OCTET STRING, session_id OCTET STRING,
//   master_key OCTET STRING, … peer [3] Certificate OPTIONAL, … verify_result [5] INTEGER OPTIONAL, … }
// The tags are explicit; see ssl/ssl_asn1.c of OpenSSL.
function readSession(der: Buffer): TicketSession {
  const session = readElement(der, 0, der.length, tags.sequence);
  const fields = readChildren(der, session, 40);
  const field = (number: number, tag: number): Element | undefined => {
    const found = fields.find((element) => element.tag === (0xa0 | number));
    return found && readElement(der, found.start, found.end, tag);
  };
  const peer = field(3, tags.sequence);
  const verifyResult = field(5, tags.integer);
  return {
    certificate: peer && whole(der, peer),
    // X509_V_OK is 0, and omitted.
    verified: verifyResult === undefined || contents(der, verifyResult).every((byte) => byte === 0),
  };
}

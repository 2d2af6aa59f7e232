/**
 * Encrypts fatal TLS 1.3 alerts (RFC 8446 §§5.2, 6) by ourselves, since Node
 * cannot send one after a handshake.
 */
import { createCipheriv } from 'node:crypto';
import { nonceOf, recordKeys } from '../../openssl/record-keys.ts';
import { alerts } from '../../openssl/registries.ts';

export type SealedAlert = keyof typeof alerts;

/**
 * The record with this alert, exactly as the owner of this traffic secret would write it as its record
 * number `sequence`. That number must never be used again, not even by OpenSSL. Undefined for an
 * unknown suite (standard name).
 */
export function sealAlert(
  alert: SealedAlert,
  { secret, suite, sequence }: { readonly secret: Buffer; readonly suite: string; readonly sequence: number },
): Buffer | undefined {
  const keys = recordKeys(suite, secret);
  if (!keys) return undefined;
  // struct { AlertLevel fatal = 2; AlertDescription description; ContentType type = 21; } TLSInnerPlaintext
  const inner = Buffer.of(2, alerts[alert], 21);
  const header = Buffer.of(23, 3, 3, 0, inner.length + tagLength);
  const cipher = createCipheriv(keys.cipher, keys.key, nonceOf(keys.iv, sequence), {
    authTagLength: tagLength,
  });
  cipher.setAAD(header);
  return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
}

const tagLength = 16;

/** The secret in a key-log line (RFC 9850 §2.1) with this label; undefined for other lines. */
export function secretIn(line: Buffer, label: string): Buffer | undefined {
  if (line.toString('latin1', 0, label.length + 1) !== `${label} `) return undefined;
  // The client's random comes before the secret: 32 bytes in hex, and a space.
  return Buffer.from(line.toString('latin1', label.length + 66).trimEnd(), 'hex');
}

/**
 * How many records these bytes are, assuming that all of them are OpenSSL's session tickets: it sends two
 * after a full handshake, none or one after a resumed one, each in a record of its own. `session` is the
 * length of the session's ASN.1, which a ticket contains encrypted; with SSL_OP_NO_TICKET a ticket contains
 * the session's number instead. Undefined if no number of tickets explains the bytes.
 */
export function countTickets(bytes: number, session: number): number | undefined {
  // 16 bytes of key name, 16 of IV, the session in AES-CBC (padded), 32 of HMAC.
  const stateless = ticketRecord(64 + session + 16 - (session % 16));
  for (let count = 0; count <= maxTickets; count += 1) {
    if (bytes === count * ticketRecord(32)) return count;
    // The tickets of one handshake differ by a random number of one to five bytes, so by one block at most.
    const difference = Math.abs(bytes - count * stateless);
    if (difference <= count * 16 && difference % 16 === 0) return stateless < maxRecord ? count : undefined;
  }
  return undefined;
}

const maxTickets = 4;
/** Anything longer takes several records. */
const maxRecord = 16_384;

/**
 * struct {
 *   uint32 ticket_lifetime; uint32 ticket_age_add; opaque ticket_nonce<8>; opaque ticket<1..2^16-1>;
 *   Extension extensions<0>;
 * } NewSessionTicket; with its header of 4 bytes, the record header of 5, the inner type and the tag.
 */
function ticketRecord(ticket: number): number {
  return 5 + 4 + 4 + 4 + (1 + 8) + (2 + ticket) + 2 + 1 + tagLength;
}

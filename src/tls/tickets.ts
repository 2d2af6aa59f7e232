/** Session-ticket keys: one set for each TLS policy, all derived from one master that processes can share. */
import { createHash, hkdfSync, randomBytes } from 'node:crypto';

/** A fresh random master, 32 bytes. It is a secret: whoever has it can read recorded TLS 1.2 sessions. */
export function createTicketMaster(): Buffer {
  return randomBytes(32);
}

/**
 * A digest of all that decides who may resume: two policies share one only if they are the same policy. It voids the
 * tickets by itself when an authority, CRL, pin or rule changes.
 */
export function policyDigest(parts: readonly unknown[]): Buffer {
  return createHash('sha256').update(JSON.stringify(parts)).digest();
}

/** The 48 bytes that Node takes as `ticketKeys` (16 name, 16 HMAC, 16 AES): HKDF-SHA-256 (RFC 5869). */
export function ticketKeys(master: Buffer, digest: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', master, digest, 'penstock session tickets', 48));
}

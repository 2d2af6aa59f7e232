/** Reads the few fields of certificates that Node does not expose (RFC 5280 §4.1). */
import { DerError, readChildren, readElement, tags, whole } from '../../x509/der.ts';

/**
 * The subject of a certificate, its DER in hex, so that equal names are equal texts. Undefined if it is not
 * strict DER.
 */
export function readSubject(der: Buffer): string | undefined {
  // Certificate ::= SEQUENCE {
  //   tbsCertificate SEQUENCE {
  //     version [0] OPTIONAL, serialNumber INTEGER, signature SEQUENCE, issuer Name, validity SEQUENCE,
  //     subject Name, … }, … }
  try {
    const outer = readElement(der, 0, der.length, tags.sequence);
    const fields = readChildren(der, readElement(der, outer.start, outer.end, tags.sequence), 10);
    if (fields[0]?.tag === 0xa0) fields.shift();
    const subject = fields[4];
    return subject?.tag === tags.sequence ? whole(der, subject).toString('hex') : undefined;
  } catch (error) {
    if (error instanceof DerError) return undefined;
    throw error;
  }
}

/** The few fields of certificates and CRLs that Node does not give (RFC 5280 §4.1, §5.1). */

/** `issuer` and `subject` are the DER of the names, in hex: equal names are equal texts. */
export type CrlFields = { readonly issuer: string; readonly nextUpdate: Date | undefined };

/** Reads a DER CRL; undefined if it is none. */
export function readCrl(der: Buffer): CrlFields | undefined {
  // CertificateList ::= SEQUENCE { tbsCertList SEQUENCE { version INTEGER OPTIONAL, signature SEQUENCE, issuer Name,
  //   thisUpdate Time, nextUpdate Time OPTIONAL, … }, … }
  const fields = fieldsOfToBeSigned(der);
  if (fields?.[0]?.tag === integer) fields.shift();
  const [, issuer, thisUpdate, nextUpdate] = fields ?? [];
  if (!issuer || !thisUpdate || !isTime(thisUpdate)) return undefined;
  return {
    issuer: issuer.content.toString('hex'),
    nextUpdate: nextUpdate && isTime(nextUpdate) ? readTime(nextUpdate) : undefined,
  };
}

/** The subject of a DER certificate; undefined if it is none. */
export function readSubject(der: Buffer): string | undefined {
  // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { version [0] OPTIONAL, serialNumber INTEGER, signature SEQUENCE,
  //   issuer Name, validity SEQUENCE, subject Name, … }, … }
  const fields = fieldsOfToBeSigned(der);
  if (fields?.[0]?.tag === 0xa0) fields.shift();
  return fields?.[4]?.content.toString('hex');
}

type Element = { readonly tag: number; readonly content: Buffer };

const integer = 0x02;
const utcTime = 0x17;
const generalizedTime = 0x18;

function fieldsOfToBeSigned(der: Buffer): Element[] | undefined {
  const outer = elementsOf(der);
  const signed = outer?.[0] && elementsOf(outer[0].content);
  return signed?.[0] && elementsOf(signed[0].content);
}

function elementsOf(bytes: Buffer): Element[] | undefined {
  const elements: Element[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at] ?? 0;
    let length = bytes[at + 1] ?? 0;
    at += 2;
    if (length > 0x80) {
      const size = length - 0x80;
      if (size > 4 || at + size > bytes.length) return undefined;
      length = bytes.readUIntBE(at, size);
      at += size;
    }
    if (at + length > bytes.length) return undefined;
    elements.push({ tag, content: bytes.subarray(at, at + length) });
    at += length;
  }
  return elements;
}

function isTime({ tag }: Element): boolean {
  return tag === utcTime || tag === generalizedTime;
}

/** `YYMMDDHHMMSSZ` (years 1950 to 2049) or `YYYYMMDDHHMMSSZ`. */
function readTime({ tag, content }: Element): Date {
  const text = content.toString('latin1');
  const century = tag === utcTime ? (Number(text.slice(0, 2)) < 50 ? '20' : '19') : '';
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(century + text) ?? [];
  return new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

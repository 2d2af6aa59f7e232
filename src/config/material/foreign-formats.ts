/** Recognizes certificates and keys in formats other than PEM, and names the command that converts them. */

/** What the file should hold: a certificate with its chain, its key, or CA certificates. */
type Wanted = 'certificate' | 'key' | 'authority';

/** `what` completes "it is …". */
type ForeignFormat = { readonly what: string; readonly hint: string };

/** Looks only at the first bytes; undefined for an unknown format. Not for files that are PEM. */
export function foreignFormat(content: Buffer, file: string, wanted: Wanted): ForeignFormat | undefined {
  const start = content.subarray(0, 64);
  const text = content.toString('latin1');
  const pem = `${file}.pem`;
  if (isUtf16(start)) {
    return { what: 'text in UTF-16', hint: `\`iconv -f UTF-16 -t ASCII ${file} > ${pem}\` converts` };
  }
  if (text.includes('-----BEGIN PKCS7-----')) return pkcs7(`openssl pkcs7 -in ${file}`, file, wanted);
  // The same format under its newer name, which `openssl pkcs7` does not accept.
  if (text.includes('-----BEGIN CMS-----'))
    return pkcs7(`sed 's/ CMS-/ PKCS7-/' ${file} | openssl pkcs7`, file, wanted);
  if (start.length > 4 && start.readUInt32BE(0) === javaKeyStore) {
    const hint = `\`keytool -importkeystore -srckeystore ${file} -destkeystore ${file}.p12 -deststoretype PKCS12\` makes PKCS#12, which openssl converts`;
    return { what: 'a Java key store (JKS)', hint };
  }
  if (start[0] !== sequence) return undefined;
  // ContentInfo ::= SEQUENCE { contentType OBJECT IDENTIFIER, … }   RFC 2315 §7
  if (contentOf(start).subarray(0, signedData.length).equals(signedData))
    return pkcs7(`openssl pkcs7 -inform DER -in ${file}`, file, wanted);
  // PFX ::= SEQUENCE { version INTEGER { v3(3) }, … }   RFC 7292 §4
  if (contentOf(start).subarray(0, version3.length).equals(version3)) {
    const parts = { certificate: '-nokeys', key: '-nocerts -nodes', authority: '-cacerts -nokeys' };
    const hint = `\`openssl pkcs12 -in ${file} ${parts[wanted]} -out ${pem}\` converts, with -legacy too if it is old`;
    return { what: 'PKCS#12 (.pfx, .p12)', hint };
  }
  const command = wanted === 'key' ? 'pkey' : 'x509';
  return { what: 'DER', hint: `\`openssl ${command} -inform DER -in ${file} -out ${pem}\` converts` };
}

const sequence = 0x30;
const javaKeyStore = 0xfe_ed_fe_ed;
/** OBJECT IDENTIFIER 1.2.840.113549.1.7.2. */
const signedData = Buffer.from('06092a864886f70d010702', 'hex');
const version3 = Buffer.from('020103', 'hex');

/** The contents of the outermost value, after its tag and length. */
function contentOf(der: Buffer): Buffer {
  const length = der[1] ?? 0;
  return der.subarray(length < 0x80 ? 2 : 2 + (length & 0x7f));
}

function isUtf16(start: Buffer): boolean {
  const mark = start.toString('hex', 0, 2);
  return mark === 'fffe' || mark === 'feff';
}

function pkcs7(reading: string, file: string, wanted: Wanted): ForeignFormat {
  const hint =
    wanted === 'key'
      ? 'it holds certificates and never a key'
      : `\`${reading} -print_certs -out ${file}.pem\` converts`;
  return { what: 'PKCS#7 (.p7b)', hint };
}

/**
 * Reads the PROXY header, v1 or v2, that a trusted peer sends before the client's bytes. "The specification"
 * is HAProxy's doc/proxy-protocol.txt.
 *
 * proxy-protocol-js only turns the bytes of v2 addresses into values. We trust it with nothing else: it reads
 * beyond the end of the header (to it, everything after the addresses is data), has no limits, accepts any
 * text as a v1 address and any number as a port, and throws values that are not Errors.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { IPv4ProxyAddress, IPv6ProxyAddress } from 'proxy-protocol-js';
import { ProxyError } from '../errors.ts';
import { type Address, normalizeAddress } from '../net/address.ts';
import { crc32c } from './crc32c.ts';

/**
 * `client` is undefined if the header names none (v1 UNKNOWN; v2 LOCAL, AF_UNSPEC): then the peer itself is
 * the client. `destination` is the address the client connected to, known whenever `client` is. `length` is
 * how many bytes the header took; the client's bytes follow.
 */
export type ProxyHeader = Partial<Ends> & { readonly length: number };

type Ends = { readonly client: Address; readonly destination: Address };

/**
 * The longest v2 header we accept, including TLVs. Senders aim at 536 bytes; only a client
 * certificate in a TLV needs more.
 */
export const maxProxyHeaderLength = 4096;

/**
 * Frames exactly one header at the start of `bytes`, which is all that has arrived so far; undefined
 * if more is needed. Throws ERR_PROXY_HEADER_INVALID as soon as the fixed words and fields, or the
 * bytes allowed in a line, rule out a header; judges addresses and TLVs only once the header is
 * complete, as the specification requires. TLVs are skipped, but must add up to the end exactly, and a
 * CRC32C among them must be right (§2.2.3).
 */
export function decodeProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  switch (bytes[0]) {
    case undefined:
      return undefined;
    case 0x50: // 'P'
      return decodeV1(bytes);
    case 0x0d:
      return decodeV2(bytes);
    default:
      throw invalid('the peer did not begin with a PROXY header');
  }
}

// Version 1, one line: PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n

const maxLine = 107;
// The four possible starts. After UNKNOWN, the rest of the line may be anything, or nothing.
const openings = ['PROXY TCP4 ', 'PROXY TCP6 ', 'PROXY UNKNOWN\r\n', 'PROXY UNKNOWN '];

function decodeV1(bytes: Buffer): ProxyHeader | undefined {
  const text = bytes.toString('latin1', 0, Math.min(bytes.length, maxLine));
  const opening = openings.find((words) => text.startsWith(words) || words.startsWith(text));
  if (opening === undefined) throw invalid('the v1 header names neither TCP4, TCP6 nor UNKNOWN');
  const end = endOfLine(text);
  const known = opening.startsWith('PROXY TCP');
  if (known && !/^[0-9A-Fa-f:. ]*$/.test(text.slice(opening.length, end))) {
    throw invalid('the v1 header contains bytes that no address or port can have');
  }
  if (end === undefined || end + 2 > text.length) return undefined;
  const ends = known ? readLine(text.slice(opening.length, end), opening) : undefined;
  return { ...ends, length: end + 2 };
}

/**
 * Where the line's CR is, even if its LF is still to come; undefined if neither has
 * come. Either one alone is an error.
 */
function endOfLine(text: string): number | undefined {
  const cr = text.indexOf('\r');
  const lf = text.indexOf('\n');
  const crIsLast = cr !== -1 && cr === text.length - 1;
  if ((lf === -1 && cr !== -1 && !crIsLast) || (lf !== -1 && lf !== cr + 1)) {
    throw invalid('the v1 header ends in a lone CR or LF');
  }
  // In a line of maximum length, the last byte must be LF and the one before it CR.
  if (lf === -1 && text.length >= (crIsLast ? maxLine : maxLine - 1)) {
    throw invalid(`the v1 header is longer than ${maxLine} bytes`);
  }
  return cr === -1 ? undefined : cr;
}

function readLine(fields: string, opening: string): Ends {
  const [source = '', destination = '', sourcePort = '', destinationPort = '', ...rest] = fields.split(' ');
  if (rest.length > 0) throw invalid('the v1 header has more than two addresses and two ports');
  const isAddress = opening === 'PROXY TCP4 ' ? isIPv4 : isIPv6;
  if (!isAddress(source) || !isAddress(destination)) {
    throw invalid('the v1 header has an address that is not of its family');
  }
  if (!isPort(sourcePort) || !isPort(destinationPort)) throw invalid('the v1 header has an invalid port');
  return {
    client: { address: normalizeAddress(source), port: Number(sourcePort) },
    destination: { address: normalizeAddress(destination), port: Number(destinationPort) },
  };
}

/** 0 to 65535, without leading zeros. */
function isPort(text: string): boolean {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65535;
}

// Version 2:
// struct { uint8 sig[12]; uint4 version; uint4 command; uint4 family; uint4 protocol; uint16 len;
//          <source, destination, their ports>;
//          struct { uint8 type; uint16 length; uint8 value[length]; } tlvs[]; }

const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const fixedLength = 16;
/** By family: AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX. */
const addressLengths = [0, 12, 36, 216];

function decodeV2(bytes: Buffer): ProxyHeader | undefined {
  const seen = Math.min(bytes.length, signature.length);
  if (signature.compare(bytes, 0, seen, 0, seen) !== 0) throw invalid('the v2 header has a wrong signature');
  const [versionAndCommand, familyAndProtocol] = [bytes[12], bytes[13]];
  if (versionAndCommand === undefined) return undefined;
  if (versionAndCommand !== 0x20 && versionAndCommand !== 0x21) {
    throw invalid('the v2 header has a version other than 2 or a command other than LOCAL and PROXY');
  }
  if (familyAndProtocol === undefined) return undefined;
  const local = versionAndCommand === 0x20;
  const family = familyAndProtocol >> 4;
  const protocol = familyAndProtocol & 0x0f;
  const addressLength = addressLengths[family];
  // With LOCAL the family is ignored, whatever it says (§2.2).
  if (!local && (addressLength === undefined || protocol > 2)) {
    throw invalid('the v2 header has an address family or a protocol that does not exist');
  }
  if (bytes.length < fixedLength) return undefined;
  const length = fixedLength + bytes.readUInt16BE(14);
  if (length > maxProxyHeaderLength) {
    throw invalid(`the v2 header is longer than ${maxProxyHeaderLength} bytes`);
  }
  // Without a family or a protocol, addresses cannot be distinguished from TLVs, so all is skipped.
  const unspecified = local || addressLength === undefined || family === 0 || protocol === 0;
  if (!unspecified && length < fixedLength + addressLength) {
    throw invalid('the v2 header is shorter than the addresses of its family');
  }
  if (bytes.length < length) return undefined;
  if (unspecified) return { length };
  const header = bytes.subarray(0, length);
  checkTlvs(header, fixedLength + addressLength);
  return { ...readEnds(header.subarray(fixedLength), family), length };
}

/** Both ends of an address block, which must be complete. */
function readEnds(block: Buffer, family: number): Ends {
  if (family === 3) return { client: unixEnd, destination: unixEnd };
  if (family === 1) {
    const { sourceAddress, sourcePort, destinationAddress, destinationPort } = IPv4ProxyAddress.from(block);
    return {
      client: { address: sourceAddress.address.join('.'), port: sourcePort },
      destination: { address: destinationAddress.address.join('.'), port: destinationPort },
    };
  }
  const { sourceAddress, sourcePort, destinationAddress, destinationPort } = IPv6ProxyAddress.from(block);
  return {
    client: { address: ipv6Text(sourceAddress.address), port: sourcePort },
    destination: { address: ipv6Text(destinationAddress.address), port: destinationPort },
  };
}

const unixEnd: Address = { address: 'unix', port: 0 };

function ipv6Text(bytes: readonly number[]): string {
  let text = '';
  for (let i = 0; i < 16; i += 2) {
    text += `${i === 0 ? '' : ':'}${((bytes[i]! << 8) | bytes[i + 1]!).toString(16)}`; // a tuple of 16
  }
  return normalizeAddress(text);
}

const crc32cType = 0x03;
const zeros = Buffer.alloc(4);

function checkTlvs(header: Buffer, start: number): void {
  let isSummed = false;
  let at = start;
  while (at < header.length) {
    const value = at + 3;
    const next = value <= header.length ? value + header.readUInt16BE(at + 1) : Number.POSITIVE_INFINITY;
    if (next > header.length) throw invalid('the v2 header has a TLV that reaches beyond its end');
    if (header[at] === crc32cType) {
      if (next - value !== 4) throw invalid('the v2 header has a CRC32C that is not 4 bytes long');
      // Each check is a pass over the whole header.
      if (isSummed) throw invalid('the v2 header has two CRC32Cs');
      isSummed = true;
      const before = crc32c(header.subarray(0, value));
      const sum = crc32c(header.subarray(next), crc32c(zeros, before));
      if (sum !== header.readUInt32BE(value)) throw invalid('the v2 header does not match its CRC32C');
    }
    at = next;
  }
}

function invalid(message: string): ProxyError {
  return new ProxyError('ERR_PROXY_HEADER_INVALID', {
    side: 'client',
    message,
    hint: 'let the peer send PROXY protocol v1 or v2, or take it out of accept_proxy_protocol.from',
  });
}

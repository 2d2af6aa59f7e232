/**
 * A TLS 1.3 client made by hand (RFC 8446), which can do what no library lets a client do: say something else in its second
 * ClientHello, send a flight byte by byte, or send messages that no honest client sends. It verifies nothing. Cipher:
 * TLS_AES_128_GCM_SHA256; groups: X25519 first, P-384 if it is asked to say hello again.
 */
import { createECDH, createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import {
  type Extension,
  handshake,
  helloMessage,
  inRecords,
  protocols,
  serverName,
  signatureAlgorithms,
  supportedGroups,
  supportedVersions,
  uint16s,
  vector,
} from './client-hellos.ts';
import type { RawClient } from './raw-client.ts';
import {
  expandLabel,
  handshakeSecrets,
  hmac,
  type Secrets,
  sha256,
  type TrafficKeys,
  trafficKeys,
} from './tls13-keys.ts';

/** What a ClientHello says. */
export type Said = { readonly servername?: string; readonly alpn?: readonly string[] };

export type Tls13Client = {
  /** Whether the server has asked for a second hello, and for a certificate. */
  readonly askedAgain: boolean;
  readonly asksCertificate: boolean;
  /** The message by which it did. */
  readonly certificateRequest: Buffer | undefined;
  /**
   * The records that finish the handshake. `certificate` (a whole Certificate message) goes ahead if the server has asked; by
   * default it is an empty one.
   */
  finish(certificate?: Buffer): Buffer;
  /** A record of this inner type (22 handshake, 23 payload, 21 alert), after `finish`. */
  seal(type: number, content: Buffer): Buffer;
  /** Seals with the keys of the next generation from now on, as behind a KeyUpdate of our own. */
  updateKeys(): void;
  /** The next record that comes after the server's flight: its inner type and content. Rejects if the connection closes first. */
  next(): Promise<{ type: number; content: Buffer }>;
};

const x25519 = 0x001d;
const p384 = 0x0018;

export type Tls13Options = {
  /** What the second hello says; by default what the first did. */
  readonly second?: Said;
  /** Sends a hello; by default in one record. */
  readonly send?: (message: Buffer) => void;
};

/** Says hello, again if asked to, and reads the server's flight to its end. Rejects with the alert or the close that comes instead. */
export async function tls13Client(
  client: RawClient,
  first: Said,
  { second = first, send = (message) => client.socket.write(inRecords(message)) }: Tls13Options = {},
): Promise<Tls13Client> {
  const records = readRecords(client);
  const pair = generateKeyPairSync('x25519');
  const curve = createECDH('secp384r1');
  const transcript: Buffer[] = [];
  const say = (said: Said, keyShare: Extension) => {
    const message = helloMessage({ ciphers: [0x1301], extensions: extensionsOf(said, keyShare) });
    transcript.push(message);
    send(message);
  };
  say(first, share(x25519, rawKey(pair.publicKey)));
  let answer = parseServerHello(await records.clear());
  const askedAgain = answer.isRetry;
  if (askedAgain) {
    // RFC 8446 §4.4.1: the hash of the first hello stands for it.
    transcript.splice(0, 1, handshake(254, sha256(...transcript)));
    transcript.push(answer.message);
    say(second, share(p384, curve.generateKeys()));
    answer = parseServerHello(await records.clear());
  }
  transcript.push(answer.message);
  const shared = askedAgain
    ? curve.computeSecret(answer.share)
    : diffieHellman({ privateKey: pair.privateKey, publicKey: keyFromRaw(answer.share) });
  const secrets = handshakeSecrets(shared, sha256(...transcript));
  records.openWith(trafficKeys(secrets.server));
  const flight = await readFlight(records);
  transcript.push(...flight);
  const certificateRequest = flight.find((message) => message[0] === 13);
  const asksCertificate = certificateRequest !== undefined;
  return {
    askedAgain,
    asksCertificate,
    certificateRequest,
    ...finishing(records, transcript, secrets, asksCertificate),
  };
}

function finishing(
  records: Records,
  transcript: Buffer[],
  { client, master }: Secrets,
  asksCertificate: boolean,
): Pick<Tls13Client, 'finish' | 'seal' | 'updateKeys' | 'next'> {
  const flightKeys = trafficKeys(client);
  const upToServer = sha256(...transcript);
  let secret = expandLabel(master, 'c ap traffic', upToServer, 32);
  let keys = trafficKeys(secret);
  return {
    finish(certificate = handshake(11, Buffer.alloc(4))) {
      const messages = asksCertificate ? [certificate] : [];
      const finishedKey = expandLabel(client, 'finished', Buffer.alloc(0), 32);
      messages.push(handshake(20, hmac(finishedKey, sha256(...transcript, ...messages))));
      records.openWith(trafficKeys(expandLabel(master, 's ap traffic', upToServer, 32)));
      const bytes = Buffer.concat(messages);
      const sealed: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += 16_000) {
        sealed.push(flightKeys.seal(22, bytes.subarray(at, at + 16_000)));
      }
      return Buffer.concat(sealed);
    },
    seal: (type, content) => keys.seal(type, content),
    updateKeys() {
      secret = expandLabel(secret, 'traffic upd', Buffer.alloc(0), 32);
      keys = trafficKeys(secret);
    },
    next: records.opened,
  };
}

/** The server's messages from EncryptedExtensions to Finished. */
async function readFlight(records: Records): Promise<Buffer[]> {
  const messages: Buffer[] = [];
  let rest = Buffer.alloc(0);
  for (;;) {
    const { type, content } = await records.opened();
    if (type !== 22)
      throw new Error(`a record of type ${type} in the server's flight: ${content.toString('hex')}`);
    rest = Buffer.concat([rest, content]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUIntBE(1, 3)) {
      const message = rest.subarray(0, 4 + rest.readUIntBE(1, 3));
      rest = rest.subarray(message.length);
      messages.push(message);
      if (message[0] === 20) return messages;
    }
  }
}

type Records = {
  /** The content of the next record, which must be a handshake record in the clear. */
  clear(): Promise<Buffer>;
  openWith(keys: TrafficKeys): void;
  opened(): Promise<{ type: number; content: Buffer }>;
};

function readRecords(client: RawClient): Records {
  let at = 0;
  let keys: TrafficKeys | undefined;
  const next = async (): Promise<Buffer> => {
    const length = (await client.until(at + 5)).readUInt16BE(at + 3);
    const bytes = (await client.until(at + 5 + length)).subarray(at, at + 5 + length);
    at += bytes.length;
    // change_cipher_spec means nothing any more (RFC 8446 §5).
    return bytes[0] === 20 ? next() : bytes;
  };
  return {
    async clear() {
      const bytes = await next();
      if (bytes[0] !== 22) throw new Error(`a record of type ${bytes[0]}: ${bytes.toString('hex')}`);
      return bytes.subarray(5);
    },
    openWith(next) {
      keys = next;
    },
    async opened() {
      const bytes = await next();
      return bytes[0] === 23 && keys ? keys.open(bytes) : { type: bytes[0] ?? 0, content: bytes.subarray(5) };
    },
  };
}

// SHA-256 of "HelloRetryRequest" (RFC 8446 §4.1.3)
const retry = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');

function parseServerHello(message: Buffer): { message: Buffer; isRetry: boolean; share: Buffer } {
  // struct { ProtocolVersion; Random random[32]; opaque session_id<0..32>; CipherSuite; uint8 compression; Extension<6..2^16-1> }
  const isRetry = message.subarray(6, 38).equals(retry);
  let at = 39 + (message[38] ?? 0) + 3 + 2;
  while (at < message.length) {
    const type = message.readUInt16BE(at);
    const end = at + 4 + message.readUInt16BE(at + 2);
    // struct { NamedGroup group; opaque key_exchange<1..2^16-1>; } KeyShareEntry
    if (type === 51)
      return { message, isRetry, share: isRetry ? Buffer.alloc(0) : message.subarray(at + 8, end) };
    at = end;
  }
  throw new Error('a ServerHello without a key share');
}

function extensionsOf({ servername, alpn }: Said, keyShare: Extension): Extension[] {
  return [
    ...(servername === undefined ? [] : [serverName(servername)]),
    ...(alpn ? [protocols(...alpn)] : []),
    supportedVersions(0x0304),
    supportedGroups(x25519, p384),
    signatureAlgorithms(0x0403, 0x0804),
    keyShare,
  ];
}

function share(group: number, key: Buffer): Extension {
  return [51, vector(2, Buffer.concat([uint16s([group]), vector(2, key)]))];
}

// SubjectPublicKeyInfo of X25519 (RFC 8410 §4), without the key's 32 bytes.
const spkiHeader = Buffer.from('302a300506032b656e032100', 'hex');

function rawKey(key: KeyObject): Buffer {
  return key.export({ type: 'spki', format: 'der' }).subarray(spkiHeader.length);
}

function keyFromRaw(raw: Buffer): KeyObject {
  return createPublicKey({ key: Buffer.concat([spkiHeader, raw]), format: 'der', type: 'spki' });
}

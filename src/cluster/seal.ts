/**
 * Seals what must stay secret in etcd and on disk, of which others read copies: backups, snapshots, whoever
 * may read etcd. AES-256-GCM; the place it is for is authenticated, so that a sealed text is void anywhere
 * else.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

export type Seal = {
  /** With the first secret. */
  readonly seal: (clear: Uint8Array, place: string) => string;
  /** The same for what is long: what comes in parts is sealed in parts, which belong together. */
  readonly sealParts: (clear: Iterable<string>, place: string) => Iterable<string>;
  /**
   * With whichever secret sealed it. Throws an Error that says what is wrong, and nothing of the contents.
   */
  readonly open: (sealed: string, place: string) => Buffer;
  /** Whether the first secret sealed it. */
  readonly isLatest: (sealed: string) => boolean;
  /** The same for the same secrets in the same order. */
  readonly id: string;
};

/** `secrets` are 32 bytes or more each; there is at least one. */
export function createSeal(secrets: readonly Uint8Array[]): Seal {
  const keys = secrets.map(keyOf);
  const byId = new Map(keys.map((key) => [key.id.toString('hex'), key.key]));
  const [first] = keys;
  if (first === undefined) throw new TypeError('no secret to seal with');
  return {
    seal: (clear, place) => [...sealing(first, [clear], place)].join(''),
    sealParts: (clear, place) => sealing(first, clear, place),
    open(sealed, place) {
      const { id, nonce, body, tag } = partsOf(sealed);
      const key = byId.get(id.toString('hex'));
      if (key === undefined) throw new Error('none of the secrets in cluster.seal opens it');
      const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: sizes.tag });
      decipher.setAAD(Buffer.from(place)).setAuthTag(tag);
      try {
        return Buffer.concat([decipher.update(body), decipher.final()]);
      } catch {
        throw new Error(`it was changed, or sealed for another place than ${place}`);
      }
    },
    isLatest: (sealed) => partsOf(sealed).id.equals(first.id),
    id: [...byId.keys()].join(),
  };
}

function* sealing({ id, key }: Key, clear: Iterable<Uint8Array | string>, place: string): Generator<string> {
  const nonce = randomBytes(sizes.nonce);
  const cipher = createCipheriv(algorithm, key, nonce).setAAD(Buffer.from(place));
  let bytes = Buffer.concat([Buffer.of(version), id, nonce]);
  for (const part of clear) {
    bytes = Buffer.concat([bytes, cipher.update(typeof part === 'string' ? Buffer.from(part) : part)]);
    // Three bytes are four characters of base64.
    const whole = bytes.length - (bytes.length % 3);
    yield bytes.toString('base64', 0, whole);
    bytes = bytes.subarray(whole);
  }
  yield Buffer.concat([bytes, cipher.final(), cipher.getAuthTag()]).toString('base64');
}

const algorithm = 'aes-256-gcm';
const version = 1;
const sizes = { version: 1, id: 4, nonce: 12, tag: 16 } as const;

// struct { uint8 version; opaque key_id[4]; opaque nonce[12]; opaque encrypted<…>; opaque tag[16]; } sealed;
function partsOf(sealed: string) {
  const bytes = Buffer.from(sealed, 'base64');
  const bodyAt = sizes.version + sizes.id + sizes.nonce;
  const tagAt = bytes.length - sizes.tag;
  if (tagAt < bodyAt) throw new Error('it is too short to be sealed');
  if (bytes[0] !== version) throw new Error(`it was sealed by a newer penstock (version ${bytes[0]})`);
  return {
    id: bytes.subarray(sizes.version, sizes.version + sizes.id),
    nonce: bytes.subarray(sizes.version + sizes.id, bodyAt),
    body: bytes.subarray(bodyAt, tagAt),
    tag: bytes.subarray(tagAt),
  };
}

type Key = { readonly id: Buffer; readonly key: Buffer };

function keyOf(secret: Uint8Array): Key {
  const derived = Buffer.from(hkdfSync('sha256', secret, '', 'penstock cluster seal', 32 + sizes.id));
  return { key: derived.subarray(0, 32), id: derived.subarray(32) };
}

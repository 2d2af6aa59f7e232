/**
 * Seals what must stay secret in etcd and on disk, of which others read copies: backups, snapshots, whoever
 * may read etcd. AES-256-GCM; the place it is for is authenticated, so that a sealed text is void anywhere
 * else.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

export type Seal = {
  /** With the first secret. */
  readonly seal: (clear: Uint8Array, place: string) => string;
  /**
   * With whichever secret sealed it. Throws an Error that says what is wrong, and nothing of the contents.
   */
  readonly open: (sealed: string, place: string) => Buffer;
  /** Whether the first secret sealed it. */
  readonly isLatest: (sealed: string) => boolean;
};

/** `secrets` are 32 bytes or more each; there is at least one. */
export function createSeal(secrets: readonly Uint8Array[]): Seal {
  const keys = secrets.map(keyOf);
  const byId = new Map(keys.map((key) => [key.id.toString('hex'), key.key]));
  const [first] = keys;
  if (first === undefined) throw new TypeError('no secret to seal with');
  return {
    seal(clear, place) {
      const nonce = randomBytes(sizes.nonce);
      const cipher = createCipheriv(algorithm, first.key, nonce).setAAD(Buffer.from(place));
      const parts = [Buffer.of(version), first.id, nonce, cipher.update(clear), cipher.final()];
      return Buffer.concat([...parts, cipher.getAuthTag()]).toString('base64');
    },
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
  };
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

function keyOf(secret: Uint8Array): { readonly id: Buffer; readonly key: Buffer } {
  const derived = Buffer.from(hkdfSync('sha256', secret, '', 'penstock cluster seal', 32 + sizes.id));
  return { key: derived.subarray(0, 32), id: derived.subarray(32) };
}

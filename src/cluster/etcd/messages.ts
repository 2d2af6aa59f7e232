/** etcd's messages as plain values: keys are text, revisions numbers. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CompareSchema, KeyValue as RawKeyValue, RequestOpSchema, ResponseHeader } from './rpc_pb.ts';

/** From which state of the store an answer is. Revisions stay far below 2^53. */
export type Header = { readonly revision: number; readonly clusterId: bigint };

export type KeyValue = {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
};

/** A condition of a transaction. */
export type Compare = { readonly message: MessageInitShape<typeof CompareSchema> };
/** Something that a transaction writes. */
export type Operation = { readonly message: MessageInitShape<typeof RequestOpSchema> };

const results = { equal: 0, less: 2 } as const;
const targets = { create: 1, mod: 2 } as const;

/** The key was last written at this revision; 0: it does not exist. */
export function lastWrittenAt(key: string, revision: number): Compare {
  const targetUnion = { case: 'modRevision', value: BigInt(revision) } as const;
  return { message: { result: results.equal, target: targets.mod, key: Buffer.from(key), targetUnion } };
}

/** The key was created at this revision and has existed since; 0: it does not exist. */
export function createdAt(key: string, revision: number): Compare {
  const targetUnion = { case: 'createRevision', value: BigInt(revision) } as const;
  return { message: { result: results.equal, target: targets.create, key: Buffer.from(key), targetUnion } };
}

/** No key that begins with `prefix` was written after this revision. Does not notice deletions. */
export function unchangedSince(prefix: string, revision: number): Compare {
  const targetUnion = { case: 'modRevision', value: BigInt(revision + 1) } as const;
  const message = { result: results.less, target: targets.mod, key: Buffer.from(prefix), targetUnion };
  return { message: { ...message, rangeEnd: endOf(prefix) } };
}

/** With a lease, the key goes when the lease does. */
export function put(key: string, value: string, lease = 0n): Operation {
  const request = {
    case: 'requestPut',
    value: { key: Buffer.from(key), value: Buffer.from(value), lease },
  } as const;
  return { message: { request } };
}

export function remove(key: string): Operation {
  return { message: { request: { case: 'requestDeleteRange', value: { key: Buffer.from(key) } } } };
}

/** The first key after all that begin with `prefix`. */
export function endOf(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  // Prefixes end in ASCII, so the last byte can be raised.
  end[end.length - 1] = (end.at(-1) ?? 0) + 1;
  return end;
}

export function headerOf(header: ResponseHeader | undefined): Header {
  return { revision: Number(header?.revision ?? 0n), clusterId: header?.clusterId ?? 0n };
}

export function keyValueOf({ key, value, createRevision, modRevision }: RawKeyValue): KeyValue {
  return {
    key: Buffer.from(key).toString(),
    value: Buffer.from(value),
    createRevision: Number(createRevision),
    modRevision: Number(modRevision),
  };
}

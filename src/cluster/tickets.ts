/**
 * The masters of session tickets that all machines share: *previous, issuing, next*, in the order of
 * HAProxy's `tls-ticket-keys`. All three are accepted, and the middle one issues, so that every machine has
 * known a master for a whole period before any machine issues with it.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { TicketMasters } from '../config/load.ts';
import { isMapping } from '../config/read/parted.ts';
import type { Seal } from './seal.ts';

/** The value of the key `tickets`, opened. */
export type SharedMasters = {
  readonly generation: number;
  readonly masters: readonly [previous: Buffer, issuing: Buffer, next: Buffer];
  /** When they last changed (ms since 1970). */
  readonly rotated: number;
};

const size = 32;

export function firstMasters(now: number): SharedMasters {
  return { generation: 1, masters: [randomBytes(size), randomBytes(size), randomBytes(size)], rotated: now };
}

export function rotated(
  { generation, masters: [, issuing, next] }: SharedMasters,
  now: number,
): SharedMasters {
  return { generation: generation + 1, masters: [issuing, next, randomBytes(size)], rotated: now };
}

/** For a master that has leaked: none of the former is accepted, so every client makes a full handshake. */
export function replaced({ generation }: SharedMasters, now: number): SharedMasters {
  return { ...firstMasters(now), generation: generation + 3 };
}

export function toServe({ masters: [previous, issuing, next] }: SharedMasters): TicketMasters {
  return { current: issuing, accepted: [previous, next] };
}

/** Each master is sealed for its key and generation, so that a value holds those of one generation only. */
export function writeMasters(
  { generation, masters, rotated: at }: SharedMasters,
  key: string,
  seal: Seal,
): string {
  const place = placeOf(key, generation);
  const sealed = masters.map((master) => ({ id: idOf(master), sealed: seal.seal(master, place) }));
  return JSON.stringify({ generation, rotated: new Date(at).toISOString(), masters: sealed });
}

/** Throws an Error that says what is wrong. */
export function readMasters(text: string, key: string, seal: Seal): SharedMasters {
  const value: unknown = JSON.parse(text);
  if (!isMapping(value) || !Array.isArray(value['masters']))
    throw new Error('expected a mapping with masters');
  const generation = Number(value['generation']);
  const masters = value['masters'].map((one) => {
    if (!isMapping(one) || typeof one['sealed'] !== 'string') throw new Error('a master is not sealed');
    return seal.open(one['sealed'], placeOf(key, generation));
  });
  const [previous, issuing, next] = masters;
  if (!previous || !issuing || !next || masters.some(({ length }) => length < size))
    throw new Error('expected three masters');
  const at = Date.parse(String(value['rotated']));
  if (Number.isNaN(at)) throw new Error('expected the time of the last rotation');
  return { generation, masters: [previous, issuing, next], rotated: at };
}

function placeOf(key: string, generation: number): string {
  return `${key} ${generation}`;
}

/** For people who compare machines. */
export function idOf(master: Uint8Array): string {
  return createHash('sha256').update(master).digest('hex').slice(0, 8);
}

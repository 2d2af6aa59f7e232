/** The names of keys in etcd: PREFIX/NAME/…, where `config/` holds the objects. */

import type { Finding } from '../config/finding.ts';

/** What an object is; routes belong to a listener. */
export const kinds = ['certificates', 'authorities', 'upstreams', 'listeners', 'routes'] as const;
export type Kind = (typeof kinds)[number];

export type ObjectName =
  | { readonly kind: Exclude<Kind, 'routes'>; readonly id: string }
  | { readonly kind: 'routes'; readonly listener: string; readonly id: string };

export type Keys = {
  /** Begins all keys. */
  readonly root: string;
  /** Begins those of objects. */
  readonly config: string;
  readonly machines: string;
  readonly machine: (name: string) => string;
  readonly format: string;
  /** While it is there, a change that takes several transactions is under way. */
  readonly hold: string;
  /** Up to which revision a state that was held back is let in. */
  readonly accept: string;
  readonly leader: string;
  readonly tickets: string;
  /** How machines divide the limit of a listener. */
  readonly limit: (listener: string) => string;
};

export function keysOf({ prefix, name }: { readonly prefix: string; readonly name: string }): Keys {
  const root = `${prefix}/${name}/`;
  return {
    root,
    config: `${root}config/`,
    machines: `${root}machines/`,
    machine: (machine) => `${root}machines/${machine}`,
    format: `${root}format`,
    hold: `${root}hold`,
    accept: `${root}accept`,
    leader: `${root}leader`,
    tickets: `${root}tickets`,
    limit: (listener) => `${root}limits/${listener}`,
  };
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

/** What a key below `config/` is the name of, such as `routes/databases/orders`; undefined: nothing known. */
export function parseObjectName(text: string): ObjectName | undefined {
  const [kind, ...ids] = text.split('/');
  if (!ids.every((id) => namePattern.test(id))) return undefined;
  const [first, second] = ids;
  if (first === undefined) return undefined;
  if (kind === 'routes') {
    return second !== undefined && ids.length === 2 ? { kind, listener: first, id: second } : undefined;
  }
  const known = kinds.find((one) => one === kind);
  return known === undefined || ids.length !== 1
    ? undefined
    : { kind: known as Exclude<Kind, 'routes'>, id: first };
}

/** What is wrong with the key of an object whose name cannot be parsed. */
export function unknownObject(key: string): Finding {
  const isKnown = kinds.some((kind) => key.includes(`/config/${kind}/`));
  const place = { file: key, line: 0, column: 0, path: '' };
  return isKnown
    ? { ...place, message: 'this is no name of an object', hint: namesHint }
    : { ...place, message: 'this penstock knows no such object', hint: 'was it written by a newer one?' };
}

const namesHint = 'names have letters, digits, "-", "_" and ".", at most 63; a route may be given a `name`';

export function formatObjectName(name: ObjectName): string {
  return name.kind === 'routes' ? `routes/${name.listener}/${name.id}` : `${name.kind}/${name.id}`;
}

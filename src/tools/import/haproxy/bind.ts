/** Parses `bind` lines: addresses and options. */
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import { addressOf } from './address.ts';
import { readOptions, tellStrange } from './bind-words.ts';
import type { PemFiles } from './files.ts';
import type { Line } from './syntax.ts';
import { type Terminating, terminating } from './terminating.ts';
import type { Options } from './tls.ts';

export type Bind = {
  readonly line: Line;
  readonly addresses: readonly string[];
  /** The permissions of its unix sockets, as written; undefined if the umask decides. */
  readonly rights: object | undefined;
  readonly ports: readonly number[];
  readonly acceptsProxyHeader: boolean;
  readonly onlyIpv6: boolean;
  readonly maxconn: string | undefined;
  /** Whether it has an unknown option that may refuse clients; then all are refused. */
  readonly isStrange: boolean;
  /** undefined if it does not terminate TLS. */
  readonly tls: Terminating | undefined;
};

/** Parses one line. `defaults` are `ssl-default-bind-…`. */
export function readBind(
  line: Line,
  defaults: Options,
  files: PemFiles,
  notes: Notes,
  surroundings: Surroundings,
): Bind | undefined {
  const { words } = line;
  const parsed = readOptions(words.slice(2), line);
  const { options } = parsed;
  const isStrange = tellStrange(options, line, notes);
  const addresses = (words[1] ?? '').split(',').flatMap((text) => addressOf(text, line, notes));
  if (addresses.length === 0) return undefined;
  const merged = new Map([...defaults, ...options]);
  return {
    line,
    addresses: addresses.map(({ text }) => text),
    rights: rightsIn(options, line, notes),
    ports: addresses.flatMap(({ port }) => port ?? []),
    acceptsProxyHeader: options.has('accept-proxy'),
    onlyIpv6: options.has('v6only'),
    maxconn: options.get('maxconn')?.value,
    isStrange,
    tls: options.has('ssl')
      ? terminating({ ...parsed, options: merged }, line, files, notes, surroundings)
      : undefined,
  };
}

/**
 * Without a mode, the umask decides for HAProxy's sockets. Permissions that cannot be expressed here admit no
 * one else.
 */
function rightsIn(options: Options, line: Line, notes: Notes): object | undefined {
  const word = (pattern: RegExp, ...names: string[]) => {
    const name = names.find((one) => options.has(one));
    const value = name === undefined ? undefined : options.get(name)?.value;
    if (value === undefined || pattern.test(value)) return value;
    notes.notCarried(line, `${name} ${value}`, 'penstock has no such value', 'see `bind` of listeners');
    return null;
  };
  const mode = word(/^0?[0-7]{3}$/, 'mode');
  const owner = word(account, 'user', 'uid');
  const group = word(account, 'group', 'gid');
  if (mode === undefined && owner === undefined && group === undefined) return undefined;
  const isWhole = mode !== null && owner !== null && group !== null;
  return {
    mode: isWhole ? (mode ?? '755').padStart(4, '0') : '0600',
    ...(owner && { owner }),
    ...(group && { group }),
  };
}

const account = /^[A-Za-z0-9_][A-Za-z0-9_.@-]*\$?$/;

/** The peers of a comparison: what they are called, where they are, what they are made of. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import type { Prepared, Site } from './fronts.ts';
import { prepareBare } from './peer-bare.ts';
import { prepareHaproxy } from './peer-haproxy.ts';
import { prepareHitch } from './peer-hitch.ts';
import { prepareNginx } from './peer-nginx.ts';
import { type PenstockOptions, penstockMain, preparePenstock } from './peer-penstock.ts';
import { prepareStunnel } from './peer-stunnel.ts';
import { postgresPrograms, prepareDirect } from './postgres.ts';

/** Those that a comparison has by itself. */
export const usualKinds = ['penstock', 'haproxy', 'nginx', 'stunnel', 'hitch'] as const;
const kinds = [...usualKinds, 'bare', 'direct'] as const;
export type Kind = (typeof kinds)[number];

export type Peer = {
  readonly name: string;
  readonly kind: Kind;
  /** What was asked for, for the record. */
  readonly path: string;
  readonly version: string;
  /** The TLS library that it runs with. */
  readonly library: string;
  readonly prepare: (site: Site) => Prepared;
  /** Added to its environment. */
  readonly env: Readonly<Record<string, string>>;
};

/** A peer as the command line names it. */
export type PeerSpec = {
  readonly name: string;
  readonly kind: Kind;
  readonly path?: string | undefined;
  readonly options: URLSearchParams;
};

export const checkout = resolve(import.meta.dirname, '../..');

/** Parses `NAME=KIND[:PATH][?OPTION=VALUE&…]`, or a kind alone. Throws with what is wrong. */
export function parsePeer(text: string): PeerSpec {
  const match = /^(?:([\w.+-]+)=)?(\w+)(?::([^?]+))?(?:\?(.*))?$/.exec(text);
  const kind = kinds.find((known) => known === match?.[2]);
  if (match === null || kind === undefined) {
    throw new Error(`"${text}" is no peer; expected NAME=KIND[:PATH], with KIND one of ${kinds.join(', ')}`);
  }
  const options = new URLSearchParams(match[4] ?? '');
  const known = kind === 'penstock' ? penstockKeys : ['preload'];
  const unknown = [...options.keys()].find((key) => !known.includes(key));
  if (unknown !== undefined)
    throw new Error(`"${text}": no option "${unknown}"; there are ${known.join(', ')}`);
  return { name: match[1] ?? kind, kind, path: match[3], options };
}

const penstockKeys = ['node', 'flags', 'preload', 'access', 'admin', 'dial', 'warm', 'sni'];

/** Finds it and asks it for its version. Throws if it is not there or does not run. */
export function findPeer(
  { name, kind, path, options }: PeerSpec,
  changes: Partial<PenstockOptions> = {},
): Peer {
  const preload = options.get('preload');
  const env: Record<string, string> = preload === null ? {} : { LD_PRELOAD: preload };
  if (kind === 'penstock') return { ...findPenstock(name, path ?? checkout, options, changes), env };
  if (kind === 'bare') return { ...findBare(name, path ?? ownNode()), env };
  if (kind === 'direct') return { ...findDirect(name), env };
  const binary = path === undefined ? onPath(kind) : resolve(path);
  if (!existsSync(binary)) throw new Error(`there is no ${binary}`);
  return { name, kind, path: binary, env, ...examine[kind](binary) };
}

function findPenstock(
  name: string,
  path: string,
  query: URLSearchParams,
  changes: Partial<PenstockOptions>,
): Omit<Peer, 'env'> {
  const main = penstockMain(path);
  const options: PenstockOptions = {
    node: query.get('node') ?? ownNode(),
    flags: query.get('flags')?.split(',') ?? [],
    accessLog: query.get('access') !== 'off',
    admin: query.get('admin') !== 'off',
    dialEarly: query.get('dial') === 'early',
    warm: Number(query.get('warm') ?? 0),
    anyName: query.get('sni') === 'any',
    workers: 1,
    names: 0,
    ...changes,
  };
  const { version, library } = versionsOf(options.node);
  const extras = query.size > 0 ? `, ${decodeURIComponent(query.toString())}` : '';
  return {
    name,
    kind: 'penstock',
    path,
    version: `${packageVersion(main)}${commitOf(main)} on ${version}${extras}`,
    library,
    prepare: (site) => preparePenstock(main, options, site),
  };
}

function findBare(name: string, node: string): Omit<Peer, 'env'> {
  return { name, kind: 'bare', path: node, ...versionsOf(node), prepare: (site) => prepareBare(node, site) };
}

/** No proxy at all: PostgreSQL's own TLS. */
function findDirect(name: string): Omit<Peer, 'env'> {
  const path = join(postgresPrograms(), 'postgres');
  const version = /\) (\S+)/.exec(outputOf(path, '--version'))?.[1] ?? 'unknown';
  return {
    name,
    kind: 'direct',
    path,
    version: `PostgreSQL ${version}`,
    library: linkedLibrary(path),
    prepare: prepareDirect,
  };
}

function versionsOf(node: string): Pick<Peer, 'version' | 'library'> {
  const asked = "process.stdout.write(process.version + ' ' + process.versions.openssl)";
  const [version, openssl] = execFileSync(node, ['-e', asked], { encoding: 'utf8' }).split(' ');
  return { version: `Node ${version?.slice(1)}`, library: `OpenSSL ${openssl}` };
}

type Examined = Pick<Peer, 'version' | 'library' | 'prepare'>;

const examine: Record<Exclude<Kind, 'penstock' | 'bare' | 'direct'>, (binary: string) => Examined> = {
  haproxy(binary) {
    const text = outputOf(binary, '-vv');
    const library =
      /Running on (?:OpenSSL|SSL library) version : (.*?)(?: \d+ \w+ \d{4})?$/m.exec(text)?.[1] ?? 'unknown';
    return {
      version: /HAProxy version (\S+)/.exec(text)?.[1] ?? 'unknown',
      library,
      prepare: (site) => prepareHaproxy(binary, knowsPostQuantum(library), site),
    };
  },
  nginx(binary) {
    const text = outputOf(binary, '-V');
    const built = /built with (.*?)(?: \d+ \w+ \d+)?(?: \(running with (.*?)(?: \d+ \w+ \d+)?\))?$/m.exec(
      text,
    );
    const library = built?.[2] ?? built?.[1] ?? 'unknown';
    const modules = /--modules-path=(\S+)/.exec(text)?.[1];
    return {
      version: /nginx version: nginx\/(\S+)/.exec(text)?.[1] ?? 'unknown',
      library,
      prepare: (site) => prepareNginx(binary, knowsPostQuantum(library), modules, site),
    };
  },
  stunnel(binary) {
    const text = outputOf(binary, '-version');
    const library = /(?:Running {2}|Compiled\/running )with (OpenSSL \S+)/.exec(text)?.[1] ?? 'unknown';
    return {
      version: /stunnel (\S+) on/.exec(text)?.[1] ?? 'unknown',
      library,
      prepare: (site) => prepareStunnel(binary, knowsPostQuantum(library), site),
    };
  },
  hitch(binary) {
    return {
      version: /hitch (\S+)/.exec(outputOf(binary, '-V'))?.[1] ?? 'unknown',
      library: linkedLibrary(binary),
      prepare: (site) => prepareHitch(binary, site),
    };
  },
};

/** X25519MLKEM768 came with OpenSSL 3.5; AWS-LC has it. */
function knowsPostQuantum(library: string): boolean {
  const [, major, minor] = /OpenSSL (\d+)\.(\d+)/.exec(library) ?? [];
  return /AWS-LC/.test(library) || Number(major) * 100 + Number(minor) >= 305;
}

/** What the `libssl` says that the dynamic linker finds for it; for programs that do not tell. */
function linkedLibrary(binary: string): string {
  const path = /libcrypto\S* => (\S+)/.exec(outputOf('ldd', binary))?.[1];
  if (path === undefined) return 'linked in';
  return /OpenSSL \d+\.\d+\.\d+\w*/.exec(readFileSync(path, 'latin1'))?.[0] ?? path;
}

/** These programs write their version to either stream, and some end with an error code all the same. */
function outputOf(program: string, option: string): string {
  return execFileSync('/bin/sh', ['-c', '"$0" "$@" 2>&1 || true', program, option], { encoding: 'utf8' });
}

function onPath(kind: Kind): string {
  const directories = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const found = directories.map((directory) => join(directory, kind)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${kind} is not installed: npm run bench:install`);
  return found;
}

/** The pinned Node of the checkout, even where a script was started by another. */
export function ownNode(): string {
  const pinned = join(checkout, 'node_modules/.bin/node');
  return existsSync(pinned) ? pinned : process.execPath;
}

function packageVersion(main: string): string {
  const file = resolve(dirname(main), '../package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}

function commitOf(main: string): string {
  const git = (...args: string[]) =>
    execFileSync('git', ['-C', dirname(main), ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
  try {
    const changed = git('status', '--porcelain', '--', resolve(dirname(main), '../src')) !== '';
    return ` (${git('rev-parse', '--short', 'HEAD').trim()}${changed ? ', changed' : ''})`;
  } catch {
    return ''; // An installed package has no history.
  }
}

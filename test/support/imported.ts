/** Imported configurations: in memory, without a file system but the one that a test makes up. */
import type { TestContext } from 'node:test';
import { parse } from 'yaml';
import { importApisix } from '../../src/tools/import/apisix/import.ts';
import { importHaproxy } from '../../src/tools/import/haproxy/import.ts';
import { importNginx } from '../../src/tools/import/nginx/import.ts';
import { formatNote, type Note } from '../../src/tools/import/notes.ts';
import type { Surroundings } from '../../src/tools/import/result.ts';
import { importTraefik } from '../../src/tools/import/traefik/import.ts';
import { type ProxyConfig, type RunningProxy, startProxy } from './proxy.ts';

export type ImportedConfig = {
  // biome-ignore lint/suspicious/noExplicitAny: what a YAML file holds, to be looked into
  readonly config: any;
  readonly yaml: string;
  readonly notes: readonly Note[];
  /** What was not carried over, a line each, as it is printed. */
  readonly lost: readonly string[];
  /** What to look at, likewise. */
  readonly looks: readonly string[];
  /** Written by the import. */
  readonly files: Readonly<Record<string, string>>;
};

/** `files` are what the configuration names; a name that ends in `/` lists what is in that directory. */
export function fromHaproxy(text: string, files: Readonly<Record<string, string>> = {}): ImportedConfig {
  return summarize(importHaproxy([{ file: 'haproxy.cfg', text }], surroundings(files)));
}

/** `files` as for HAProxy. */
export function fromNginx(text: string, files: Readonly<Record<string, string>> = {}): ImportedConfig {
  return summarize(importNginx([{ file: 'nginx.conf', text }], surroundings(files)));
}

/** Texts are named `traefik-1` and so on; a last argument that is no text has the files that they name. */
export function fromTraefik(...args: readonly (string | Readonly<Record<string, string>>)[]): ImportedConfig {
  const texts = args.filter((arg) => typeof arg === 'string');
  const files = args.find((arg) => typeof arg !== 'string') ?? {};
  const inputs = texts.map((text, index) => ({ file: `traefik-${index + 1}`, text }));
  return summarize(importTraefik(inputs, surroundings(files)));
}

/** Texts are named `apisix-1`, `apisix-2` in notes. */
export function fromApisix(...texts: readonly (string | object)[]): ImportedConfig {
  const inputs = texts.map((text, index) => ({
    file: `apisix-${index + 1}`,
    text: typeof text === 'string' ? text : JSON.stringify(text, null, 1),
  }));
  return summarize(importApisix(inputs, surroundings({})));
}

/** Puts it into service, with the files that it names. */
export function serveImported(
  t: Pick<TestContext, 'after'>,
  imported: ImportedConfig,
  files: Readonly<Record<string, string>> = {},
): Promise<RunningProxy> {
  return startProxy(t, parse(imported.yaml) as ProxyConfig, { ...files, ...imported.files });
}

function surroundings(files: Readonly<Record<string, string>>): Surroundings {
  return {
    read: (path) => (path.endsWith('/') ? undefined : files[path]),
    list: (path) => files[`${path.replace(/\/$/, '')}/`]?.split(' '),
    pathFor: (path) => path,
    certificatePath: (name) => name,
    writesCertificates: true,
  };
}

function summarize({ yaml, notes, files }: ReturnType<typeof importApisix>): ImportedConfig {
  const of = (kind: Note['kind']) => notes.filter((note) => note.kind === kind).map(formatNote);
  return {
    yaml,
    notes,
    config: parse(yaml),
    lost: of('not_carried'),
    looks: of('look'),
    files: Object.fromEntries(files.map(({ path, text }) => [path, text])),
  };
}

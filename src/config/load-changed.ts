/**
 * Loads a file of which only some routes differ from the last time: those are checked, with everything but
 * the other routes. Where more depends on a change, the whole file is checked again.
 */
import { type ConfigText, type LoadedConfig, loadParsed } from './load.ts';
import type { CertificateMemory } from './material/certificates.ts';
import { createFiles } from './read/files.ts';
import { type PartList, type Parts, wholeOf } from './read/parts.ts';
import type { ParsedYaml } from './read/yaml.ts';
import type { Config, ListenerConfig, RouteConfig } from './schema/schema.ts';

/** What a load has found, for the next one. */
export type Last = {
  readonly text: Pick<ConfigText, 'name' | 'directory'>;
  readonly parts: Parts;
  readonly loaded: LoadedConfig;
  /** How many routes have each name, by listener. */
  readonly names: Map<string, Map<string, number>>;
};

/** Routes `from` to `to` of a listener are replaced by those `from` to `behind` of the file. */
export type Splice = {
  readonly listener: string;
  readonly from: number;
  readonly to: number;
  readonly behind: number;
};

/** The more routes have changed, the less is saved. */
const mostChanged = 1000;

export function remember(text: ConfigText, parts: Parts, loaded: LoadedConfig): Last {
  const names = new Map<string, Map<string, number>>();
  for (const [listener, { routes }] of Object.entries(loaded.config.listeners)) {
    const counts = new Map<string, number>();
    names.set(listener, counts);
    for (const { sni = [] } of routes) for (const name of sni) count(counts, name, 1);
  }
  return { text: { name: text.name, directory: text.directory }, parts, loaded, names };
}

function count(counts: Map<string, number>, name: string, by: number): void {
  const now = (counts.get(name) ?? 0) + by;
  if (now === 0) counts.delete(name);
  else counts.set(name, now);
}

export type Changed = { readonly loaded: LoadedConfig; readonly splices: readonly Splice[] };

/**
 * undefined if the whole file must be checked. Rejects with a ConfigError if the changed routes have faults.
 */
export async function loadChanged(
  { name, directory }: ConfigText,
  parts: Parts,
  last: Last,
  certificates: CertificateMemory,
): Promise<Changed | undefined> {
  const splices = splicesBetween(last.parts, parts);
  if (splices === undefined || splices.length === 0) return undefined;
  if (last.text.name !== name || last.text.directory !== directory) return undefined;
  if (last.loaded.warnings.some(({ path }) => path.startsWith('listeners'))) return undefined;
  // Those of the other routes may have changed, too.
  if (last.loaded.modules.size > 0) return undefined;
  const reduced = reduce(parts, splices);
  const found = await loadParsed(reduced, { name, directory, files: createFiles(), certificates });
  if (found.warnings.some(({ path }) => path.startsWith('listeners'))) return undefined;
  if (!sameMaterial(found, last.loaded)) return undefined;
  const listeners: Record<string, ListenerConfig> = {};
  for (const [listener, config] of Object.entries(found.config.listeners)) {
    const before = last.loaded.config.listeners[listener]?.routes ?? [];
    const splice = splices.find((it) => it.listener === listener);
    const fresh = splice ? config.routes.slice(0, splice.behind - splice.from) : [];
    if (splice && !isSimple(splice, before, fresh, last.names.get(listener))) return undefined;
    const { from, to } = splice ?? { from: before.length, to: before.length };
    const routes = [...before.slice(0, from), ...fresh, ...before.slice(to)];
    listeners[listener] = Object.freeze({ ...config, routes: Object.freeze(routes) as RouteConfig[] });
  }
  const config: Config = Object.freeze({ ...found.config, listeners: Object.freeze(listeners) });
  const files = [...new Set([...last.loaded.files, ...found.files])];
  return { loaded: { ...found, config, files }, splices };
}

/** Takes over what `loadChanged` returned. */
export function rememberChanged(last: Last, parts: Parts, { loaded, splices }: Changed): Last {
  for (const { listener, from, to, behind } of splices) {
    const counts = last.names.get(listener);
    const routesOf = (it: LoadedConfig) => it.config.listeners[listener]?.routes ?? [];
    if (counts === undefined) continue;
    for (const { sni = [] } of routesOf(last.loaded).slice(from, to))
      for (const one of sni) count(counts, one, -1);
    for (const { sni = [] } of routesOf(loaded).slice(from, behind))
      for (const one of sni) count(counts, one, 1);
  }
  return { ...last, parts, loaded };
}

/** undefined if anything else differs, or too much. */
function splicesBetween(before: Parts, after: Parts): readonly Splice[] | undefined {
  if (before.rest !== after.rest || before.lists.length !== after.lists.length) return undefined;
  const splices: Splice[] = [];
  for (const [index, list] of after.lists.entries()) {
    const former = before.lists[index];
    if (former === undefined || former.path.join('\n') !== list.path.join('\n')) return undefined;
    const { from, to, behind } = difference(former.values, list.values);
    if (from === to && from === behind) continue;
    const [, listener] = list.path;
    if (list.kind !== 'list' || typeof listener !== 'string') return undefined;
    if (Math.max(to, behind) - from > mostChanged || list.values.length < 2) return undefined;
    splices.push({ listener, from, to, behind });
  }
  return splices;
}

export function difference(before: readonly unknown[], after: readonly unknown[]) {
  const most = Math.min(before.length, after.length);
  let from = 0;
  while (from < most && before[from] === after[from]) from += 1;
  let [to, behind] = [before.length, after.length];
  while (to > from && behind > from && before[to - 1] === after[behind - 1]) {
    to -= 1;
    behind -= 1;
  }
  return { from, to, behind };
}

/** The file with the changed routes only, or with the first of a listener's routes if none has changed. */
function reduce(parts: Parts, splices: readonly Splice[]): ParsedYaml {
  const firsts = new Map<string, number>();
  const lists = parts.lists.map((list): PartList => {
    const [, listener] = list.path;
    if (list.kind !== 'list' || typeof listener !== 'string') return list;
    const { from, behind } = splices.find((it) => it.listener === listener) ?? { from: 0, behind: 0 };
    // If no route has changed, or some were only removed, one that stays stands for all.
    const first = behind > from || from < list.values.length ? from : 0;
    firsts.set(listener, first);
    return { ...list, values: list.values.slice(first, Math.max(behind, first + 1)) };
  });
  return {
    raw: structuredClone(wholeOf({ ...parts, lists })),
    faults: [],
    locate(path, at) {
      const [section, listener, , index] = path;
      const first = section === 'listeners' ? firsts.get(String(listener)) : undefined;
      if (first === undefined || typeof index !== 'number') return parts.locate(path, at);
      return parts.locate([...path.slice(0, 3), index + first, ...path.slice(4)], at);
    },
  };
}

/**
 * Whether the routes can be judged without the others: for clients with TLS, by names that no other route
 * has, and without a name of their own.
 */
function isSimple(
  { from, to }: Splice,
  before: readonly RouteConfig[],
  fresh: readonly RouteConfig[],
  counts: ReadonlyMap<string, number> | undefined,
): boolean {
  const gone = before.slice(from, to);
  const isPlain = ({ tls, deny, sni, name }: RouteConfig) =>
    tls === 'off' || deny !== undefined || sni === undefined || name !== undefined;
  if (counts === undefined || gone.some(isPlain) || fresh.some(isPlain)) return false;
  if (before.some(({ tls }) => tls === 'off')) return false;
  const freed = gone.flatMap(({ sni = [] }) => sni);
  const names = fresh.flatMap(({ sni = [] }) => sni);
  const left = (name: string) => (counts.get(name) ?? 0) - freed.filter((one) => one === name).length;
  return new Set(names).size === names.length && names.every((name) => left(name) === 0);
}

function sameMaterial(one: LoadedConfig, other: LoadedConfig): boolean {
  const isSame = (a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>) =>
    a.size === b.size && [...a].every(([name, value]) => b.get(name) === value);
  const textOf = ({ authorities }: LoadedConfig) =>
    [...authorities.values()].map(({ name, ca, crl }) =>
      name === 'system' ? '' : [name, ...ca, ...crl].join(),
    );
  return isSame(one.certificates, other.certificates) && textOf(one).join() === textOf(other).join();
}

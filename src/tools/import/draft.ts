/** A penstock configuration under construction, and its text. */
import { type Document, isMap, isSeq, type Node, Document as YamlDocument } from 'yaml';
import type { Surroundings } from './result.ts';
import type { RouteDraft } from './routes.ts';

/** A file to write beside the configuration; `secret` ones only for the owner. */
export type WrittenFile = { readonly path: string; readonly text: string; readonly secret: boolean };

export type ListenerDraft = {
  readonly options: Readonly<Record<string, unknown>>;
  readonly routes: readonly RouteDraft[];
  readonly comment: string;
  /** Why it is not known what the other proxy does with clients without TLS, for which there is no route. */
  readonly unclearPlain?: string | undefined;
};

export type Draft = {
  readonly top: Record<string, unknown>;
  readonly certificates: Map<string, object>;
  readonly authorities: Map<string, object>;
  readonly listeners: Map<string, ListenerDraft>;
  readonly upstreams: Map<string, { readonly options: object; readonly comment: string }>;
  /** The files that things are from, such as that of `upstreams.orders`; not for all of them. */
  readonly origins: Map<string, string>;
};

export function createDraft(): Draft {
  return {
    top: {},
    certificates: new Map(),
    authorities: new Map(),
    listeners: new Map(),
    upstreams: new Map(),
    origins: new Map(),
  };
}

/** Marks an environment variable in a text, to become `${NAME}` or `${NAME:-default}` in penstock's file. */
export function environment(name: string, fallback?: string): string {
  return `\uE000${name}${fallback === undefined ? '' : `:-${fallback}`}\uE001`;
}

/**
 * Adds a value under an unused name derived from the wanted one, of letters, digits, `-`, `_` and `.`;
 * returns that name.
 */
export function addNamed<T>(section: Map<string, T>, wanted: string, value: T): string {
  const base = nameFrom(wanted);
  let name = base;
  for (let count = 2; section.has(name) || name === 'system'; count++) name = `${base.slice(0, 58)}-${count}`;
  section.set(name, value);
  return name;
}

/** A name that penstock accepts. */
export function nameFrom(text: string): string {
  const name = text
    .replaceAll('*', 'wildcard')
    .replace(/[^A-Za-z0-9_.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+|-+$/g, '')
    .slice(0, 63);
  return name === '' ? 'unnamed' : name;
}

/** Clients of whom it is not known what the other proxy does: those of a route, or those without TLS. */
export type Unclear = {
  readonly listener: string;
  readonly route: number | 'plain';
  readonly why: string;
};

export function unclearIn({ listeners }: Draft): Unclear[] {
  return [...listeners].flatMap(([listener, draft]) => {
    const plain = draft.unclearPlain ?? whyNobodyIsServed(draft.routes);
    return [
      ...draft.routes.flatMap(({ unclear: why }, route) =>
        why === undefined ? [] : [{ listener, route, why }],
      ),
      ...(plain === undefined ? [] : [{ listener, route: 'plain' as const, why: plain }]),
    ];
  });
}

/** Where the only route refuses everyone, clients without TLS do not even get that far. */
function whyNobodyIsServed([first, second]: readonly RouteDraft[]): string | undefined {
  const isForAll = second === undefined && first !== undefined && Object.keys(first.value).length === 1;
  return isForAll ? first.unclear : undefined;
}

/** The text of the file, with `header` and comments before what they are about. */
export function textOf(
  draft: Draft,
  header: string,
  { hasAdmin = false }: Pick<Surroundings, 'hasAdmin'>,
): string {
  const sections = {
    ...(hasAdmin && { admin: { bind: `127.0.0.1:${freePort(draft)}` } }),
    ...draft.top,
    ...(draft.certificates.size > 0 && { certificates: Object.fromEntries(draft.certificates) }),
    ...(draft.authorities.size > 0 && { authorities: Object.fromEntries(draft.authorities) }),
    listeners: mapped(draft.listeners, ({ options, routes }) => ({
      ...options,
      routes: routes.map(({ value }) => value),
    })),
    ...(draft.upstreams.size > 0 && { upstreams: mapped(draft.upstreams, ({ options }) => options) }),
  };
  const document = new YamlDocument(escaped(sections), { aliasDuplicateObjects: false });
  document.commentBefore = commentOf(header);
  annotate(
    document,
    ['admin'],
    'For `penstock top` and other commands, metrics and a live page: on this machine only.',
  );
  for (const [name, { comment, routes }] of draft.listeners) {
    annotate(document, ['listeners', name], comment);
    routes.forEach((route, index) => {
      if (route.comment !== undefined)
        annotate(document, ['listeners', name, 'routes', index], route.comment);
    });
  }
  for (const [name, { comment }] of draft.upstreams) annotate(document, ['upstreams', name], comment);
  makeCompact(document);
  return document.toString({ lineWidth: 0, flowCollectionPadding: true });
}

/** That of the documentation, unless a listener has it. */
function freePort({ listeners }: Draft): number {
  const bound = JSON.stringify([...listeners.values()].map(({ options }) => options['bind']));
  let port = 9901;
  while (bound.includes(`:${port}"`)) port += 1;
  return port;
}

function mapped<T>(section: ReadonlyMap<string, T>, of: (value: T) => unknown): object {
  return Object.fromEntries([...section].map(([name, value]) => [name, of(value)]));
}

/** A comment belongs to the key in a mapping, or to the item in a list. */
function annotate(document: Document, path: readonly (string | number)[], comment: string): void {
  const parent = document.getIn(path.slice(0, -1), true);
  const last = path.at(-1);
  let node: Node | undefined;
  if (isSeq(parent)) node = parent.items[Number(last)] as Node;
  else if (isMap(parent)) {
    node = parent.items.find(({ key }) => String(key) === last)?.key as Node | undefined;
  }
  if (node) node.commentBefore = commentOf(comment);
}

function commentOf(text: string): string {
  return text
    .split('\n')
    .map((line) => ` ${line.replace(/[^\x20-\x7e\u00a0-\uffff]/g, '?').replaceAll(/[\uE000\uE001]/g, '')}`)
    .join('\n');
}

/** Puts lists of plain values on one line if that is readable. */
function makeCompact(document: Document): void {
  const visitNode = (node: unknown): void => {
    if (isSeq(node)) {
      const values = node.items.map((item) => (isMap(item) || isSeq(item) ? undefined : String(item)));
      node.flow = values.every((value) => value !== undefined) && values.join(', ').length < 80;
      for (const item of node.items) visitNode(item);
    } else if (isMap(node)) {
      for (const { value } of node.items) visitNode(value);
    }
  };
  visitNode(document.contents);
}

/** Escapes literal `${`, and turns marked variables into references. */
function escaped(value: unknown): unknown {
  if (typeof value === 'string') {
    return value
      .replaceAll('${', () => '$${')
      .replace(/\uE000([^\uE001]*)\uE001/g, (_, variable) => `\${${variable}}`);
  }
  if (Array.isArray(value)) return value.map(escaped);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, escaped(inner)]));
}

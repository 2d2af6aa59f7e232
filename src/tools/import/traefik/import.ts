/** Converts Traefik's TCP routers and services, from its file provider and static configuration. */
import { addNamed, createDraft, type Draft, textOf, unclearIn, type WrittenFile } from '../draft.ts';
import { cidrsOf, everywhere, networksOf } from '../networks.ts';
import { createNotes, type Notes } from '../notes.ts';
import type { Imported, Input, Surroundings } from '../result.ts';
import { orRefusesAll, withNames } from '../routes.ts';
import type { Value } from '../value.ts';
import { hasOthers, readSources, type Sources } from './input.ts';
import { routesOf } from './routers.ts';
import { createServices, type Services } from './services.ts';
import { createTlsOptions, type TlsOptions } from './tls-options.ts';

export type Parts = {
  readonly sources: Sources;
  readonly draft: Draft;
  readonly notes: Notes;
  readonly services: Services;
  readonly tls: TlsOptions;
};

/** Static and dynamic configuration in any order. Throws an ImportError if a file cannot be understood. */
export function importTraefik(inputs: readonly Input[], surroundings: Surroundings): Imported {
  const notes = createNotes();
  const draft = createDraft();
  const files: WrittenFile[] = [];
  const sources = readSources(inputs, notes);
  const tools = { sources, draft, notes, surroundings, files };
  const parts = { sources, draft, notes, services: createServices(tools), tls: createTlsOptions(tools) };
  const [first] = inputs;
  if (sources.entryPoints === undefined) {
    const message = 'where Traefik listens is said by its static configuration';
    notes.notCarried({ file: first?.file ?? '', line: 0 }, 'entryPoints', message, 'give that file, too');
  }
  for (const [name, entryPoint] of sources.entryPoints ?? []) addListener(name, entryPoint, parts);
  tellUnlistened(parts);
  const names = inputs.map(({ file }) => file).join(', ');
  const yaml = textOf(
    draft,
    `Made by \`penstock import traefik\` from ${names}. Read what it said, and run \`penstock check\`.`,
    surroundings,
  );
  return { yaml, notes: notes.all(), unclear: unclearIn(draft), files };
}

/** Routers without entry points of their own are at all of them. */
export function isAt(router: Value, entryPoint: string): boolean {
  const { items, raw } = router.get('entryPoints');
  return raw === undefined || items.length === 0 || items.some(({ text }) => text === entryPoint);
}

function addListener(name: string, entryPoint: Value, parts: Parts): void {
  const { draft, notes, sources } = parts;
  const address = entryPoint.get('address');
  const [, host = '', port = '', protocol = 'tcp'] =
    /^(.*):(\d+)(?:\/(\w+))?$/.exec(address.text ?? '') ?? [];
  const routers = [...sources.tcp('routers')].filter(([, router]) => isAt(router, name));
  if (protocol !== 'tcp' || Number(port) < 1 || Number(port) > 65535) {
    notes.notCarried(entryPoint.place, entryPoint.name, 'expected an address such as :443 of TCP');
    return;
  }
  if (routers.length === 0) {
    notes.leftOut(entryPoint.place, entryPoint.name, 'no TCP router is there');
    return;
  }
  const known = [
    'address',
    'proxyProtocol',
    'asDefault',
    'http',
    'http2',
    'http3',
    'forwardedHeaders',
    'transport',
    'udp',
    'reusePort',
    'observability',
  ];
  const isStrange = hasOthers(entryPoint, known, notes);
  const admission = admissionOf(entryPoint.get('proxyProtocol'), notes);
  const made = isStrange || admission === undefined ? [] : routesOf(routers, parts);
  const routes = withNames(made);
  if (routes.length === 0)
    notes.notCarried(
      entryPoint.place,
      entryPoint.name,
      'nothing leads anywhere from here: it refuses all clients',
    );
  const { file, line } = entryPoint.place;
  addNamed(draft.listeners, name, {
    comment: `${file}:${line} entryPoints.${name}`,
    options: { bind: `${host}:${port}`, ...admission },
    routes: orRefusesAll(routes, `${file}:${line} entryPoints.${name}`),
  });
}

/** Traefik takes headers of those whom it trusts, and bytes of all others. */
function admissionOf(proxyProtocol: Value, notes: Notes): object | undefined {
  if (proxyProtocol.raw === undefined) return {};
  const { place, name } = proxyProtocol;
  const trusted = proxyProtocol.get('trustedIPs').items.flatMap(({ text }) => text ?? []);
  const isOpen = proxyProtocol.get('insecure').raw === true;
  if (hasOthers(proxyProtocol, ['trustedIPs', 'insecure'], notes)) return undefined;
  if (!isOpen && trusted.length === 0) return {};
  try {
    const from = isOpen ? everywhere : networksOf(trusted);
    notes.look(place, name, 'peers without a PROXY header, and those that are not trusted, are refused here');
    return { accept_proxy_protocol: { from: cidrsOf(from) } };
  } catch {
    notes.denied(place, name, 'it names no address that penstock knows: all clients are refused');
    return undefined;
  }
}

/** Reports routers whose entry points are not known. */
function tellUnlistened({ sources, notes }: Parts): void {
  const known = [...(sources.entryPoints ?? new Map()).keys()];
  for (const router of sources.tcp('routers').values()) {
    for (const entryPoint of router.get('entryPoints').items) {
      if (known.includes(entryPoint.text ?? '')) continue;
      notes.notCarried(entryPoint.place, entryPoint.name, `there is no entry point "${entryPoint.text}"`);
    }
  }
}

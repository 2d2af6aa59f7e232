/** Checks references to upstreams, certificates and authorities. */
import type { Path, Report } from '../finding.ts';
import type { RouteConfig } from '../schema/schema.ts';
import { suggest } from './near-miss.ts';

/** The names of each section, `system` included. */
export type Names = {
  readonly certificates: readonly string[];
  readonly authorities: readonly string[];
  readonly upstreams: readonly string[];
};

/**
 * Reports each reference to a name that does not exist. Takes the configuration as written, since references
 * in faulty parts must be fixed too.
 */
export function checkReferences(raw: unknown, names: Names, report: Pick<Report, 'fault'>): void {
  const known = {
    certificate: new Set(names.certificates),
    authority: new Set(names.authorities),
    upstream: new Set(names.upstreams),
  };
  const sections = {
    certificate: names.certificates,
    authority: names.authorities,
    upstream: names.upstreams,
  };
  const refuse = (kind: keyof typeof known, name: string, path: Path) => {
    const there = sections[kind];
    const hint = suggest(name, there, 'there are') ?? (there.length === 0 ? 'there are none' : undefined);
    report.fault(path, `no ${kind} is called "${name}"`, hint);
  };
  if (Object.hasOwn(within(raw, 'authorities'), 'system')) {
    report.fault(
      ['authorities', 'system'],
      '`system` is predefined (the system’s roots)',
      'choose another name',
    );
  }
  // There may be a hundred thousand.
  const checkAll = (references: readonly Reference[], path: () => Path) => {
    for (const { kind, name, at } of references) {
      if (typeof name === 'string' && !known[kind].has(name)) refuse(kind, name, [...path(), ...at]);
    }
  };
  checkAll(referencesOfRest(within(raw)), () => []);
  for (const [name, listener] of Object.entries(within(raw, 'listeners'))) {
    for (const [index, route] of listOf(within(listener)['routes']).entries()) {
      checkAll(referencesOfRoute(route), () => ['listeners', name, 'routes', index]);
    }
  }
  for (const [name, upstream] of Object.entries(within(raw, 'upstreams'))) {
    checkAll(referencesOfUpstream(upstream), () => ['upstreams', name]);
  }
}

/** `name` is whatever is written there. */
export type Reference = {
  readonly kind: 'certificate' | 'authority' | 'upstream';
  readonly name: unknown;
  readonly at: Path;
};

/** What a route refers to, as written or as parsed. */
export function referencesOfRoute(route: unknown): Reference[] {
  const { upstream, tls } = within(route);
  const leads: Reference = { kind: 'upstream', name: upstream, at: ['upstream'] };
  if (typeof tls !== 'object') return [leads];
  const { certificates, client_auth } = within(tls);
  const at = ['tls', 'certificates'];
  const presented = Array.isArray(certificates)
    ? certificates.map((name, position) => certificate(name, [...at, position]))
    : [certificate(certificates, at)];
  return [
    leads,
    ...presented,
    authority(within(client_auth)['authority'], ['tls', 'client_auth', 'authority']),
  ];
}

/** Whether a parsed route refers to one of these, by kind: a hundred thousand are asked for one change. */
export function doesRouteReferTo(
  { upstream, tls }: RouteConfig,
  named: Readonly<Record<Reference['kind'], ReadonlySet<string>>>,
): boolean {
  if (upstream !== undefined && named.upstream.has(upstream)) return true;
  if (typeof tls !== 'object') return false;
  for (const name of tls.certificates) if (named.certificate.has(name)) return true;
  return tls.client_auth?.authority !== undefined && named.authority.has(tls.client_auth.authority);
}

/** What an upstream refers to, as written or as parsed. */
export function referencesOfUpstream(upstream: unknown): Reference[] {
  return [['tls'], ['health_check', 'tls']].flatMap((section) => {
    const tls = section.reduce<Record<string, unknown>>(within, within(upstream));
    return [
      authority(tls['authority'], [...section, 'authority']),
      certificate(tls['certificate'], [...section, 'certificate']),
    ];
  });
}

/** What everything else refers to: the cluster, and the Admin API. */
export function referencesOfRest(raw: Readonly<Record<string, unknown>>): Reference[] {
  const etcd = within(within(raw, 'cluster'), 'etcd');
  const tls = within(within(raw, 'admin_api')['tls']);
  return [
    authority(etcd['authority'], ['cluster', 'etcd', 'authority']),
    certificate(etcd['certificate'], ['cluster', 'etcd', 'certificate']),
    certificate(tls['certificate'], ['admin_api', 'tls', 'certificate']),
    authority(within(tls['client_auth'])['authority'], ['admin_api', 'tls', 'client_auth', 'authority']),
  ];
}

function authority(name: unknown, at: Path): Reference {
  return { kind: 'authority', name, at };
}

function certificate(name: unknown, at: Path): Reference {
  return { kind: 'certificate', name, at };
}

/** The value itself, or its entry `key`, if that is a mapping; otherwise an empty one. */
function within(value: unknown, key?: string): Record<string, unknown> {
  const found = key === undefined ? value : within(value)[key];
  return typeof found === 'object' && found !== null && !Array.isArray(found)
    ? (found as Record<string, unknown>)
    : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

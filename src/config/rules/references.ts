/** Checks references to upstreams, certificates and authorities. */
import type { Path, Report } from '../finding.ts';
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
  const check = (kind: keyof typeof known, name: unknown, path: Path) => {
    if (typeof name !== 'string' || known[kind].has(name)) return;
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
  const etcd = within(within(raw, 'cluster'), 'etcd');
  check('authority', etcd['authority'], ['cluster', 'etcd', 'authority']);
  check('certificate', etcd['certificate'], ['cluster', 'etcd', 'certificate']);
  for (const [name, listener] of Object.entries(within(raw, 'listeners'))) {
    for (const [index, route] of listOf(within(listener)['routes']).entries()) {
      const path = ['listeners', name, 'routes', index];
      const { upstream, tls } = within(route);
      check('upstream', upstream, [...path, 'upstream']);
      const { certificates, client_auth } = within(tls);
      if (Array.isArray(certificates)) {
        for (const [position, one] of certificates.entries())
          check('certificate', one, [...path, 'tls', 'certificates', position]);
      } else check('certificate', certificates, [...path, 'tls', 'certificates']);
      check('authority', within(client_auth)['authority'], [...path, 'tls', 'client_auth', 'authority']);
    }
  }
  const { certificate, client_auth } = within(within(raw, 'admin_api')['tls']);
  const apiTls = ['admin_api', 'tls'];
  check('certificate', certificate, [...apiTls, 'certificate']);
  check('authority', within(client_auth)['authority'], [...apiTls, 'client_auth', 'authority']);
  for (const [name, upstream] of Object.entries(within(raw, 'upstreams'))) {
    for (const section of [['tls'], ['health_check', 'tls']]) {
      const { authority, certificate } = section.reduce<Record<string, unknown>>(within, within(upstream));
      check('authority', authority, ['upstreams', name, ...section, 'authority']);
      check('certificate', certificate, ['upstreams', name, ...section, 'certificate']);
    }
  }
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

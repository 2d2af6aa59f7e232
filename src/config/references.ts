/** Names that point at something: upstreams, certificates, authorities. */
import type { Path, Report } from './finding.ts';
import { suggest } from './near-miss.ts';
import type { Config } from './schema.ts';

/** The names of each section, `system` included. */
export type Names = {
  readonly certificates: readonly string[];
  readonly authorities: readonly string[];
  readonly upstreams: readonly string[];
};

/** Reports each reference to a name that is not there. */
export function checkReferences(config: Config, names: Names, report: Report): void {
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
  const check = (kind: keyof typeof known, name: string | undefined, path: Path) => {
    if (name === undefined || known[kind].has(name)) return;
    const there = sections[kind];
    const hint = suggest(name, there, 'there are') ?? (there.length === 0 ? 'there are none' : undefined);
    report.fault(path, `no ${kind} is called "${name}"`, hint);
  };
  if (Object.hasOwn(config.authorities, 'system')) {
    report.fault(
      ['authorities', 'system'],
      '`system` is predefined (the system’s roots)',
      'choose another name',
    );
  }
  for (const [name, { routes }] of Object.entries(config.listeners)) {
    for (const [index, { tls, upstream }] of routes.entries()) {
      const path = ['listeners', name, 'routes', index];
      check('upstream', upstream, [...path, 'upstream']);
      if (typeof tls !== 'object') continue;
      tls.certificates.forEach((certificate, position) => {
        check('certificate', certificate, [...path, 'tls', 'certificates', position]);
      });
      check('authority', tls.client_auth?.authority, [...path, 'tls', 'client_auth', 'authority']);
    }
  }
  for (const [name, { tls }] of Object.entries(config.upstreams)) {
    check('authority', tls?.authority, ['upstreams', name, 'tls', 'authority']);
    check('certificate', tls?.certificate, ['upstreams', name, 'tls', 'certificate']);
  }
}

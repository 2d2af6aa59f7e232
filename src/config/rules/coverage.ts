/** Checks whether certificates suit their use. */
import { type Purpose, purposeOf } from '../../x509/own-names.ts';
import type { Path, Report } from '../finding.ts';
import type { LoadedCertificate } from '../material/certificates.ts';
import type { Config, RouteConfig } from '../schema/schema.ts';

/**
 * Warns about certificates that match none of their route's names, names without a certificate, and
 * certificates with the wrong purpose.
 */
export function checkCoverage(
  config: Config,
  certificates: ReadonlyMap<string, LoadedCertificate>,
  report: Report,
): void {
  const presented = new Map([...certificates.values()].map((one) => [one.name, describe(one)]));
  for (const [listener, { routes }] of Object.entries(config.listeners)) {
    for (const [index, route] of routes.entries()) {
      const { tls } = route;
      if (typeof tls !== 'object') continue;
      const path = ['listeners', listener, 'routes', index, 'tls', 'certificates'];
      const used = tls.certificates.map((name) => presented.get(name)).filter((one) => one !== undefined);
      checkNames(route, used, path, report);
      checkPurpose(used, serverAuth, 'servers', path, report);
    }
  }
  for (const [name, { tls, health_check }] of Object.entries(config.upstreams)) {
    const checkTls = typeof health_check?.tls === 'object' ? health_check.tls : undefined;
    for (const [section, certificate] of [
      [['tls'], tls?.certificate],
      [['health_check', 'tls'], checkTls?.certificate],
    ] as const) {
      const used = presented.get(certificate ?? '');
      const path = ['upstreams', name, ...section, 'certificate'];
      if (used) checkPurpose([used], clientAuth, 'clients', path, report);
    }
  }
}

type Presented = {
  readonly name: string;
  readonly purposes: readonly Purpose[];
  readonly exact: ReadonlySet<string>;
  /** The text after `*.`. */
  readonly wildcards: ReadonlySet<string>;
};

const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';
const anyPurpose = '2.5.29.37.0';

function describe({ name, pairs }: LoadedCertificate): Presented {
  const purposes = pairs.map(({ cert }) => purposeOf(cert));
  const names = purposes.flatMap(({ dns }) => dns);
  return {
    name,
    purposes,
    exact: new Set(names),
    wildcards: new Set(names.filter((dns) => dns.startsWith('*.')).map((dns) => dns.slice(2))),
  };
}

function checkNames(
  { sni, wildcard }: RouteConfig,
  used: readonly Presented[],
  path: Path,
  report: Report,
): void {
  if (sni === undefined) return;
  const isFor = (one: Presented, name: string) => covers(one, name, wildcard === 'one_label');
  const idle = used.filter((one) => !sni.some((name) => isFor(one, name)));
  for (const one of idle) {
    const sans = one.exact.size === 0 ? 'it has none' : `it has ${some([...one.exact])}`;
    const message = `no name of certificate "${one.name}" is among the route's (${some(sni)})`;
    report.warn([...path, used.indexOf(one)], message, sans);
  }
  if (idle.length === used.length) return;
  const bare = sni.filter((name) => !used.some((one) => isFor(one, name)));
  if (bare.length > 0)
    report.warn(
      path,
      `no certificate is for ${some(bare)}`,
      'clients will refuse the certificate that they see',
    );
}

/** Whether the certificate covers a name; for a wildcard or `*`, whether it covers any name that matches. */
function covers({ exact, wildcards }: Presented, name: string, oneLabel: boolean): boolean {
  if (name === '*' || exact.has(name)) return true;
  if (!name.startsWith('*.')) return wildcards.has(name.slice(name.indexOf('.') + 1));
  const suffix = name.slice(1);
  for (const dns of exact) {
    if (dns.endsWith(suffix) && !(oneLabel && dns.slice(0, -suffix.length).includes('.'))) return true;
  }
  return false;
}

function checkPurpose(
  used: readonly Presented[],
  purpose: string,
  whom: 'servers' | 'clients',
  path: Path,
  report: Report,
): void {
  for (const [index, { name, purposes }] of used.entries()) {
    const unfit = purposes.some(
      ({ extendedKeyUsage: all }) => all && !all.includes(purpose) && !all.includes(anyPurpose),
    );
    if (!unfit) continue;
    const message = `certificate "${name}" is not for TLS ${whom} (extended key usage)`;
    report.warn([...path, index], message, 'peers will refuse it');
  }
}

function some(names: readonly string[]): string {
  const shown = names.slice(0, 2).join(', ');
  return names.length > 2 ? `${shown} and ${names.length - 2} more` : shown;
}

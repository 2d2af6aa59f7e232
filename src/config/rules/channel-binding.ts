/**
 * Where clients and an upstream see different certificates, and a login may depend on their being the same.
 */
import { parseEndpoint } from '../../net/written-address.ts';
import { protocolOf } from '../../protocols/table.ts';
import { isNamed } from '../../x509/is-named.ts';
import type { Report } from '../finding.ts';
import type { LoadedCertificate } from '../material/certificates.ts';
import type { Config, UpstreamConfig } from '../schema/schema.ts';

/**
 * Warns of routes that end TLS and begin it anew, if what they present lacks the name for which the
 * upstream's certificate is verified: then the two are not the same.
 */
export function warnOfChannelBinding(
  config: Config,
  certificates: ReadonlyMap<string, LoadedCertificate>,
  report: Report,
): void {
  for (const [listener, { routes }] of Object.entries(config.listeners)) {
    for (const [index, { tls, upstream: name }] of routes.entries()) {
      const upstream = config.upstreams[name ?? ''];
      const binding = protocolOf(upstream?.tls?.starttls)?.binding;
      if (binding === undefined || upstream === undefined || typeof tls !== 'object') continue;
      const presented = tls.certificates.flatMap((one) => certificates.get(one)?.pairs ?? []);
      const other = namesVerified(upstream).find(
        (verified) => !presented.some(({ leaf }) => isNamed(leaf, verified)),
      );
      if (other === undefined) continue;
      report.warn(
        ['listeners', listener, 'routes', index, 'tls', 'certificates'],
        `${binding.refused} are refused: upstream "${name}" presents another certificate, which is for ${other}`,
        binding.remedy,
      );
    }
  }
}

/** Without those that depend on the client, which both sides may have. */
function namesVerified({ tls, endpoints }: UpstreamConfig): string[] {
  if (tls?.verify !== 'full') return [];
  const hosts = endpoints.flatMap(({ address }) => {
    const parsed = parseEndpoint(address);
    return parsed && 'host' in parsed && parsed.host !== undefined ? [parsed.host] : [];
  });
  const names = tls.server_name === undefined ? hosts : [tls.server_name];
  return names.filter((name) => !name.includes('{'));
}

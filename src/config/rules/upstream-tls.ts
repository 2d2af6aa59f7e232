/** Finds contradictions in TLS settings towards upstreams, for clients or for checks. */
import { parseEndpoint } from '../../net/written-address.ts';
import type { Path, Report } from '../finding.ts';
import type { UpstreamConfig, UpstreamTlsConfig } from '../schema/schema.ts';
import { placeholders } from './placeholders.ts';
import { checkTlsParameters } from './tls.ts';

/** Reports contradictions in the TLS settings of an upstream, or of its checks. */
export function checkUpstreamTls(
  tls: UpstreamTlsConfig,
  { endpoints }: Pick<UpstreamConfig, 'endpoints'>,
  path: Path,
  report: Report,
): void {
  checkTlsParameters(tls, path, report);
  const { verify, pins, server_name } = tls;
  if (verify === 'pin' && pins === undefined) {
    report.lack([...path, 'verify'], '`verify: pin` needs `pins`', 'give sha256:… of the upstream’s key');
  }
  if (verify === 'none') {
    if (pins !== undefined) {
      report.fault([...path, 'pins'], '`verify: none` would ignore `pins`', 'write `verify: pin`');
    }
    report.warn(
      [...path, 'verify'],
      'anyone can impersonate this upstream',
      'verify by `authority`, or by `pins` with `verify: pin`',
    );
  }
  const unknown = placeholders(server_name ?? '').find((placeholder) => placeholder !== '{sni}');
  if (unknown !== undefined) {
    report.fault(
      [...path, 'server_name'],
      `"${unknown}" is not a placeholder here`,
      'there is {sni}, the client’s name',
    );
  }
  const isUnix = endpoints.some(({ address }) => 'path' in (parseEndpoint(address) ?? {}));
  if (verify === 'full' && server_name === undefined && isUnix) {
    report.lack(path, 'a unix socket has no host name to verify', 'give `server_name`');
  }
}

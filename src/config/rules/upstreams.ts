/** Finds combinations in upstreams that contradict each other, though each key is valid by itself. */
import { blockList, inBlockList, parseCidr } from '../../net/address.ts';
import type { Path, Report } from '../finding.ts';
import type { Config, UpstreamConfig } from '../schema/schema.ts';
import { checkHealth } from './health-checks.ts';
import { placeholders } from './placeholders.ts';
import { checkSocketPath } from './sockets.ts';
import { checkUpstreamTls } from './upstream-tls.ts';

/** Reports contradictions and missing parts in upstreams. */
export function checkUpstreams(config: Config, report: Report): void {
  for (const [name, upstream] of Object.entries(config.upstreams)) {
    const path = ['upstreams', name];
    checkEndpoints(upstream, path, report);
    if (upstream.tls) checkUpstreamTls(upstream.tls, upstream, [...path, 'tls'], report);
    checkOptions(upstream, path, report);
    checkHealth(upstream, path, report);
    warnOfNoEffect(upstream, path, report);
  }
}

function checkEndpoints({ endpoints, allow_addresses }: UpstreamConfig, path: Path, report: Report): void {
  let templates = 0;
  for (const [index, { address }] of endpoints.entries()) {
    const place = [...path, 'endpoints', index, 'address'];
    const used = placeholders(address);
    checkSocketPath(address, place, report);
    if (used.length === 0) continue;
    templates += 1;
    const unknown = used.find((placeholder) => placeholder !== '{sni}' && placeholder !== '{sni.1}');
    if (unknown !== undefined) {
      report.fault(
        place,
        `"${unknown}" is not a placeholder`,
        'there are {sni}, the whole name, and {sni.1}, the label that `*` stood for',
      );
    } else if (address.startsWith('unix:')) {
      report.fault(
        place,
        'a unix socket cannot be a template',
        'templates are names that resolve to addresses',
      );
    }
  }
  if (templates === 0) return;
  if (allow_addresses === undefined) {
    report.lack(path, 'a template needs `allow_addresses`', 'say what it may resolve to, such as 10.0.0.0/8');
    return;
  }
  for (const [index, list] of allow_addresses.entries())
    warnOfOwnAddresses(list, [...path, 'allow_addresses', index], report);
}

/**
 * Addresses by which a machine reaches itself or its neighbours: a list that includes them rarely means to.
 */
const ownAddresses = [
  '127.0.0.0/8',
  '169.254.0.0/16',
  '0.0.0.0/8',
  '::/128',
  '::1/128',
  'fe80::/10',
  '64:ff9b::/96',
];

function warnOfOwnAddresses(list: string, path: Path, report: Report): void {
  const { prefix, version } = parseCidr(list);
  const block = blockList([list]);
  const within = ownAddresses.filter((own) => {
    const parsed = parseCidr(own);
    return parsed.version === version && prefix < parsed.prefix && inBlockList(block, parsed.address);
  });
  if (within.length === 0) return;
  const message = `clients may reach this machine itself: this includes ${within.join(', ')}`;
  report.warn(path, message, 'list only the networks of your upstreams');
}

function checkOptions({ send_proxy_protocol }: UpstreamConfig, path: Path, report: Report): void {
  if (send_proxy_protocol?.version === 'v1' && send_proxy_protocol.tlvs.length > 0) {
    report.fault([...path, 'send_proxy_protocol', 'tlvs'], 'version v1 has no TLVs', 'write `version: v2`');
  }
}

function warnOfNoEffect(upstream: UpstreamConfig, path: Path, report: Report): void {
  const { health_check, outlier, on_down, all_down, slow_start, limits, dial } = upstream;
  const warn = (option: readonly string[], why: string) => report.warn([...path, ...option], why);
  if (on_down === 'close' && health_check === undefined) {
    warn(['on_down'], 'without `health_check` no endpoint is found down');
  }
  if (health_check === undefined && outlier === undefined) {
    const why = 'without `health_check` or `outlier` every endpoint counts as up';
    if (all_down === 'try_anyway') warn(['all_down'], why);
    if (slow_start !== Number.POSITIVE_INFINITY) warn(['slow_start'], why);
  }
  if (limits.queue !== undefined && limits.connections === Number.POSITIVE_INFINITY) {
    warn(['limits', 'queue'], 'without `limits.connections` no client has to wait');
  }
  if (dial === 'early' && limits.connections !== Number.POSITIVE_INFINITY) {
    warn(
      ['dial'],
      'with `limits.connections` it dials after the handshake, since silent clients would use up the limit',
    );
  }
}

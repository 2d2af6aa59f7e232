/** Converts `checks` of APISIX's upstreams. */
import type { Notes } from '../notes.ts';
import { duration, whole } from '../numbers.ts';
import type { Value } from '../value.ts';

/** The `health_check` of an upstream, and what follows from having one. */
export function healthOf(value: Value, notes: Notes): object {
  const checks = value.get('checks');
  const active = checks.get('active');
  const passive = checks.get('passive');
  if (passive.raw !== undefined) {
    notes.notCarried(
      passive.place,
      passive.name,
      'penstock configures passive checks differently',
      'see `outlier`',
    );
  }
  if (active.raw === undefined) return {};
  const interval = active.get('healthy').get('interval').number;
  const timeout = active.get('timeout').number;
  const healthy = whole(active.get('healthy').get('successes').text, 1);
  const kind = checkKind(value, active, notes);
  const counted = kind.type === 'http' ? 'http_failures' : 'tcp_failures';
  const failures = whole(active.get('unhealthy').get(counted).text, 1);
  return {
    health_check: {
      ...kind,
      ...(interval && { interval: duration(interval * 1000) }),
      ...(timeout && { timeout: duration(timeout * 1000) }),
      ...(healthy && { healthy_after: healthy }),
      ...(failures && { unhealthy_after: failures }),
    },
    // This is what APISIX does when all are unhealthy.
    all_down: 'try_anyway',
  };
}

type Kind = { readonly type: 'tcp' | 'http'; readonly [option: string]: unknown };

/** What is asked, and where. */
function checkKind(value: Value, active: Value, notes: Notes): Kind {
  const type = active.get('type').text ?? 'http';
  const port = whole(active.get('port').text, 1);
  const place = port === undefined || port > 65535 ? {} : { port };
  const [own, path] = [active.get('host'), active.get('http_path')];
  if (type !== 'http' && type !== 'https') {
    if (own.raw !== undefined) notes.notCarried(own.place, own.name, 'TCP checks send no name');
    return { type: 'tcp', ...place };
  }
  const asked = { path: path.text ?? '/', host: own.text };
  if (!/^\/[\x21-\x7e]*$/.test(asked.path) || !/^[\w.:[\]-]+$/.test(asked.host ?? 'h')) {
    notes.notCarried(active.place, active.name, 'penstock cannot ask for that: tcp takes its place');
    return { type: 'tcp', ...place };
  }
  const headers = active.get('req_headers');
  if (headers.raw !== undefined)
    notes.notCarried(headers.place, headers.name, 'penstock sends no other header');
  return {
    type: 'http',
    ...place,
    ...(asked.path !== '/' && { path: asked.path }),
    ...(asked.host !== undefined && { host: asked.host }),
    status: statusesOf(active),
    ...tlsOf(value, active, type === 'https'),
  };
}

/** As in APISIX, if there are none that penstock knows. */
function statusesOf(active: Value): number[] {
  const { items } = active.get('healthy').get('http_statuses');
  const statuses = items.flatMap(({ text }) => whole(text, 100) ?? []).filter((status) => status < 600);
  return statuses.length > 0 ? statuses : [200, 302];
}

/** In APISIX the type of the check decides, and not the scheme of the upstream. */
function tlsOf(value: Value, active: Value, isHttps: boolean): object {
  if (!isHttps) return value.get('scheme').text === 'tls' ? { tls: 'off' } : {};
  const isVerified = active.get('https_verify_certificate').raw !== false;
  const host = active.get('host').text;
  return { tls: { ...(host !== undefined && { server_name: host }), verify: isVerified ? 'full' : 'none' } };
}

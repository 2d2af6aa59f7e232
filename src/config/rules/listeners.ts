/**
 * Finds combinations in listeners and routes that contradict each other, though each key is valid by itself.
 */
import { isIPv4 } from 'node:net';
import { type Binding, parseBinding } from '../../net/written-address.ts';
import { protocolOf } from '../../protocols/table.ts';
import type { Path, Report } from '../finding.ts';
import { syslogPath } from '../log-destination.ts';
import type { ClientAuthConfig, ClientRule, Config, ListenerConfig, RouteConfig } from '../schema/schema.ts';
import { placeholders } from './placeholders.ts';
import { checkSocketPath } from './sockets.ts';
import { checkClientCurves, checkProtocols, checkTlsParameters } from './tls.ts';

/** Reports contradictions and missing parts in listeners and their routes. */
export function checkListeners(config: Config, report: Report): void {
  if (Object.keys(config.listeners).length === 0 && config.cluster === undefined) {
    report.lack(['listeners'], 'expected at least one listener');
  }
  checkBinds(config, report);
  if (config.restrict_workers && config.otlp?.logs) {
    const hint = 'set `otlp.logs: false`, and have a collector read the log';
    report.fault(['otlp', 'logs'], 'with `restrict_workers` workers may not read further packages', hint);
  }
  if (config.restrict_workers && syslogPath(config.log.destination) !== undefined) {
    const hint = 'log to stdout, from which systemd takes it to the journal, or to a file';
    report.fault(['log', 'destination'], 'with `restrict_workers` workers cannot start `logger`', hint);
  }
  if (config.restrict_workers && !process.allowedNodeEnvironmentFlags.has('--permission')) {
    report.fault(['restrict_workers'], `this needs Node 22.13 or later; this is ${process.version}`);
  }
  for (const [name, listener] of Object.entries(config.listeners)) {
    const path = ['listeners', name];
    checkListener(listener, path, report);
    checkRouteNames(listener, path, report);
    checkPlainBeside(listener, path, report);
    for (const [index, route] of listener.routes.entries()) {
      const routePath = [...path, 'routes', index];
      checkRoute(route, routePath, report);
      checkUpstreamOf(route, config, routePath, report);
      checkRights(route, config, routePath, report);
    }
  }
}

/** A thread could escape the restrictions of its process, so `authorize` cannot have one. */
function checkRights({ tls }: RouteConfig, { restrict_workers }: Config, path: Path, report: Report): void {
  if (!restrict_workers || typeof tls !== 'object' || tls.client_auth?.authorize === undefined) return;
  const message = '`authorize` needs a thread, which `restrict_workers` forbids';
  report.fault([...path, 'tls', 'client_auth', 'authorize'], message, 'remove one of the two');
}

/** Collects every address to bind, with its position; one that is already taken is a fault. */
function checkBinds(config: Config, report: Report): void {
  const taken: { binding: Binding; owner: string }[] = [];
  const claim = (text: string, owner: string, path: Path) => {
    const binding = parseBinding(text);
    if (binding === undefined) return;
    checkSocketPath(text, path, report);
    const other = taken.find((earlier) => collide(earlier.binding, binding));
    if (other)
      report.fault(path, `${text} is already taken by ${other.owner}`, 'give each listener its own address');
    taken.push({ binding, owner });
  };
  for (const [name, { bind }] of Object.entries(config.listeners)) {
    bind.forEach((text, index) => {
      claim(text, `listeners.${name}`, ['listeners', name, 'bind', index]);
    });
  }
  if (config.admin) claim(config.admin.bind, 'admin', ['admin', 'bind']);
}

/** Whether the system would refuse to bind the second. Port 0 means any free port; `::` includes IPv4. */
export function collide(a: Binding, b: Binding): boolean {
  if ('systemd' in a || 'systemd' in b) return 'systemd' in a && 'systemd' in b && a.systemd === b.systemd;
  if ('path' in a || 'path' in b) return 'path' in a && 'path' in b && a.path === b.path;
  if (a.port !== b.port || a.port === 0) return false;
  const covers = (wide: string | undefined, other: string | undefined) =>
    wide === undefined || wide === '::' || (wide === '0.0.0.0' && other !== undefined && isIPv4(other));
  return a.host === b.host || covers(a.host, b.host) || covers(b.host, a.host);
}

function checkListener({ bind, accept_proxy_protocol }: ListenerConfig, path: Path, report: Report): void {
  const from = accept_proxy_protocol?.from.indexOf('unix') ?? -1;
  if (from !== -1 && !bind.some((address) => address.startsWith('unix:'))) {
    const place = [...path, 'accept_proxy_protocol', 'from', from];
    report.warn(place, 'this listener binds no unix socket, so no peer is `unix`');
  }
}

/** Some protocols say too much before TLS to serve a plain client as if nothing had been said. */
function checkPlainBeside({ starttls, routes }: ListenerConfig, path: Path, report: Report): void {
  const { title, notBeside } = protocolOf(starttls) ?? {};
  const plain = routes.findIndex(({ tls }) => tls === 'off');
  if (notBeside === undefined || plain === -1 || routes.every(({ tls }) => tls === 'off')) return;
  report.fault(
    [...path, 'routes', plain, 'tls'],
    `${title} listeners take no plain clients beside those with TLS: ${notBeside}`,
    'give plain clients a listener of their own',
  );
}

function checkRouteNames({ routes }: ListenerConfig, path: Path, report: Report): void {
  const seen = new Set<string>();
  for (const [index, { name }] of routes.entries()) {
    if (name === undefined) continue;
    if (seen.has(name)) {
      report.warn(
        [...path, 'routes', index, 'name'],
        `another route of this listener is called "${name}" too`,
      );
    }
    seen.add(name);
  }
}

function checkRoute(route: RouteConfig, path: Path, report: Report): void {
  const { deny, tls, upstream } = route;
  if (route.wildcard === 'one_label' && !route.sni?.some((sni) => sni.startsWith('*.'))) {
    report.warn([...path, 'wildcard'], 'no `sni` of this route is of the form *.name', 'it has no effect');
  }
  if (deny) {
    for (const key of ['tls', 'upstream'] as const) {
      if (route[key] === undefined) continue;
      report.fault(
        [...path, key],
        `a route with \`deny\` takes no \`${key}\``,
        `remove \`${key}\` or \`deny\``,
      );
    }
    return;
  }
  if (upstream === undefined) report.lack(path, '`upstream` is missing', 'name one, or write `deny: true`');
  if (tls === undefined) {
    const choices = 'write a mapping to terminate TLS here, `passthrough`, or `off` for plain clients';
    report.lack(path, '`tls` is missing', choices);
  }
  if (tls === 'off') checkPlainRoute(route, path, report);
  if (typeof tls !== 'object') return;
  checkTlsParameters(tls, [...path, 'tls'], report);
  checkClientCurves(tls, [...path, 'tls'], report);
  if (tls.client_auth) checkClientAuth(tls.client_auth, [...path, 'tls', 'client_auth'], report);
}

/** Plain clients send no name, protocols or fingerprint. */
function checkPlainRoute({ sni, alpn, ja4 }: RouteConfig, path: Path, report: Report): void {
  if (sni !== undefined) {
    report.warn(
      [...path, 'sni'],
      'plain clients send no name, so with `tls: off` it has no effect',
      'remove it',
    );
  }
  for (const [key, value] of Object.entries({ alpn, ja4 })) {
    if (value === undefined) continue;
    report.warn(
      [...path, key],
      'plain clients have none, so with `tls: off` this route takes no client',
      'remove it',
    );
  }
}

/** Checks a route together with its upstream. */
function checkUpstreamOf(route: RouteConfig, config: Config, path: Path, report: Report): void {
  const name = route.upstream;
  const upstream =
    name !== undefined && Object.hasOwn(config.upstreams, name) ? config.upstreams[name] : undefined;
  if (upstream === undefined || route.deny) return;
  if (route.tls === 'passthrough' && upstream.tls) {
    const message = `\`passthrough\` cannot go to upstream "${name}", which has \`tls\``;
    report.fault([...path, 'tls'], message, 'terminate TLS here, or name an upstream without `tls`');
  }
  const { client_auth: auth, alpn } = typeof route.tls === 'object' ? route.tls : {};
  if (alpn && upstream.tls?.alpn) {
    checkProtocols(alpn, { name: name ?? '', alpn: upstream.tls.alpn }, [...path, 'tls', 'alpn'], report);
  }
  if (upstream.dial === 'early' && auth && auth.mode !== 'none') {
    const message = `upstream "${name}" has \`dial: early\`, which would dial before the client is authenticated`;
    report.fault([...path, 'upstream'], message, `remove \`dial\` from upstreams.${name}`);
  }
  const templates = upstream.endpoints.filter(({ address }) => placeholders(address).length > 0);
  // `{sni.1}` is the stricter requirement.
  const template = templates.find(({ address }) => placeholders(address).includes('{sni.1}')) ?? templates[0];
  if (template !== undefined) checkTemplate(route, template.address, name, path, report);
}

/**
 * If clients choose the endpoint by name, routes must limit the names; `*` alone has no single label for
 * `{sni.1}`.
 */
function checkTemplate(
  route: RouteConfig,
  template: string,
  upstream: string | undefined,
  path: Path,
  report: Report,
): void {
  const reason = `upstream "${upstream}" has the template ${template}`;
  if (route.tls === 'off') {
    report.fault([...path, 'upstream'], `${reason}, and plain clients send no name`);
  } else if (route.sni === undefined) {
    report.lack(path, `${reason}, so \`sni\` is needed`, 'give wildcards such as *.example.com');
  } else {
    const takesAny = !placeholders(template).includes('{sni.1}');
    const unfit = route.sni.findIndex((sni) => !sni.startsWith('*.') && !(takesAny && sni === '*'));
    if (unfit === -1) return;
    report.fault(
      [...path, 'sni', unfit],
      `${reason}, so every \`sni\` must be a wildcard`,
      'write them like *.example.com',
    );
  }
}

/** Checks client authentication: whom it trusts, and which rules apply beyond that. */
function checkClientAuth(auth: ClientAuthConfig, path: Path, report: Report): void {
  const { mode, authority, pins, allow } = auth;
  if (mode === 'none') {
    for (const key of ['authority', 'send_ca_names', 'pins', 'allow', 'authorize'] as const) {
      if (auth[key] !== undefined)
        report.warn([...path, key], '`mode: none` asks for no certificate', 'it has no effect');
    }
    return;
  }
  if (authority !== undefined && pins !== undefined) {
    report.fault([...path, 'pins'], '`authority` and `pins` exclude each other', 'remove one of them');
  }
  if (authority === undefined && pins === undefined) {
    report.lack(
      path,
      `\`mode: ${mode}\` needs \`authority\` or \`pins\``,
      'say whose certificates are valid',
    );
  }
  if (allow !== undefined && authority === undefined) {
    report.lack(
      [...path, 'allow'],
      '`allow` needs `authority`',
      'names in a certificate mean nothing unless a CA vouches for them',
    );
  }
  if (authority === 'system' && allow === undefined) {
    report.lack(
      [...path, 'authority'],
      '`authority: system` needs `allow`',
      'otherwise anyone with a public certificate gets in',
    );
  }
  for (const [index, rule] of (allow ?? []).entries()) checkRule(rule, [...path, 'allow', index], report);
}

function checkRule({ uri, dns, cn, ou, email }: ClientRule, path: Path, report: Report): void {
  if (dns?.split('.').some((label) => label.includes('*') && label !== '*')) {
    report.fault(
      [...path, 'dns'],
      `"${dns}" can match nothing: \`*\` must be one whole label`,
      'write them like *.example.com',
    );
  }
  if (uri?.replace(/\/\*\*$/, '').includes('**')) {
    report.fault([...path, 'uri'], `"${uri}" can match nothing: \`**\` stands at the end only, after \`/\``);
  }
  for (const [key, value] of Object.entries({ cn, ou, email })) {
    if (value?.includes('*')) report.warn([...path, key], '`*` is not a wildcard here; it stands for itself');
  }
}

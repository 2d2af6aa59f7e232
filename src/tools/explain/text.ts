/** Formats an explanation for people: what happens, in one sentence, then why, step by step. */

import { phases } from '../../errors.ts';
import { counted, harmless, section, some, wrap } from '../terminal/text.ts';
import type { ClientSide } from './client-side.ts';
import type { ExplainedRoute, Explanation } from './explanation.ts';
import type { Logged } from './log-line.ts';
import type { UpstreamSide } from './upstream-side.ts';

/** Within 80 columns, except for longer words. `log` is what a log line says about it. */
export function formatExplanation(explanation: Explanation, log?: ComparedLog): string {
  const { taken, tls, upstream, code, error, hint, undecided } = explanation;
  const maybe = explanation.admission.admitted === null ? 'if it is let in, ' : '';
  return [
    ...wrap(`${who(explanation)}: ${maybe}${whatHappens(explanation)}.`).map(
      (line) => `${line.trimStart()}\n`,
    ),
    section('Log', log ? logged(log) : []),
    section('Because', error === null ? [] : [hint === null ? error : `${error}; ${hint}`]),
    section('But', undecided.length === 0 ? [] : [`this is not certain without ${flags(undecided)}`]),
    section('Admission', admission(explanation)),
    section('Before TLS', explanation.before_tls === null ? [] : [`clients ${explanation.before_tls}`]),
    section('Routes', routes(explanation)),
    section('TLS', tls ? termination(tls) : taken?.action === 'passthrough' ? [passedThrough] : []),
    section('Certificate', tls ? certificate(tls, explanation.client.sni) : []),
    section('Client', tls ? demands(tls, explanation.client.certificate) : []),
    section('Upstream', upstream ? endpoints(upstream, code !== null) : []),
    section('It sees', upstream && code === null ? seen(upstream, taken?.action === 'passthrough') : []),
  ].join('');
}

/** What the log says happened, and whether the same would happen now; null if the line says too little. */
type ComparedLog = Logged & { readonly agrees: boolean | null };

function logged({ agrees, route, upstream, endpoint, phase, code, error, hint }: ComparedLog): string[] {
  const by = route === null ? 'no route took it' : `route ${route} took it`;
  const to = upstream === null ? '' : `, to upstream ${upstream}${endpoint === null ? '' : ` (${endpoint})`}`;
  const end = code === null ? 'it ended well' : `it ended in phase ${phase} by ${code}`;
  const why = error === null ? '' : `: ${error}${hint === null ? '' : `; ${hint}`}`;
  const early = route === null && phases.indexOf(phase) < phases.indexOf('route');
  return [
    `${early ? '' : `${by}${to}; `}${end}${harmless(why)}`,
    ...(agrees === false
      ? ['the outcome would differ now: the configuration has changed, or the line lacks what decides']
      : []),
  ];
}

function who({ listener, client }: Explanation): string {
  const { sni, alpn, address, peer, plain, tls, gone } = client;
  const version = tls?.length === 1 ? ` ${tls[0]}` : '';
  const kind = gone
    ? 'A client that left before it said what it wants'
    : plain
      ? 'A client without TLS'
      : `A TLS${version} client ${sni === null ? 'that asks for no name' : `for ${sni}`}`;
  const origin = `${address === null ? '' : ` from ${address}`}${peer === null ? '' : ` through ${peer}`}`;
  const offer = alpn === null || alpn.length === 0 ? '' : `, offering ${alpn.map(harmless).join(', ')},`;
  return `${kind}${origin}${offer} at listener ${listener}`;
}

function whatHappens({
  taken,
  tls,
  upstream,
  code,
  client: { plain, peer, gone },
  ...start
}: Explanation): string {
  const isTurnedAway = start.peer_trusted === false || start.admission.admitted === false;
  if (gone && !isTurnedAway) return `it was not routed (${code})`;
  const route = `route ${taken?.route}`;
  switch (code) {
    case null:
      if (taken?.action === 'passthrough')
        return `${route} passes its TLS through to upstream ${upstream?.name}`;
      return `${route} takes it${taken?.action === 'terminate' ? ', TLS ends here' : ''}, ${condition(tls)}its bytes go to upstream ${upstream?.name}`;
    case 'ERR_PROXY_HEADER_UNTRUSTED':
      return `only the peers that send a PROXY header may connect here, and ${peer} is not one of them (${code}); its connection is reset`;
    case 'ERR_ADDRESS_DENIED':
      return `it is not let in (${code}); its connection is reset`;
    case 'ERR_NOT_TLS':
    case 'ERR_STARTTLS_REQUIRED':
      return `it is refused (${code}), since no route here has \`tls: off\``;
    case 'ERR_NO_ROUTE':
      return `no route takes it (${code}); ${plain ? 'its connection is closed' : 'it gets the alert unrecognized_name'}`;
    case 'ERR_CLUSTER_HELD':
    case 'ERR_ROUTE_DENIED':
      return `${route} denies it (${code}); ${plain ? 'its connection is closed' : 'it gets the alert access_denied'}`;
    default:
      if (code.startsWith('ERR_TLS_')) return `${route} takes it, but the handshake fails (${code})`;
      if (upstream === null) return `${route} takes it, but does not let it in (${code})`;
      return `${route} takes it, but upstream ${upstream.name} has no endpoint for it (${code})`;
  }
}

function condition(tls: ClientSide | null): string {
  const isOpen = tls?.client_auth?.mode === 'require' && tls.client_auth.admitted === null;
  return isOpen ? 'and if its certificate is accepted ' : '';
}

function flags(names: Explanation['undecided']): string {
  const called = {
    from: 'its address (--from)',
    alpn: 'the protocols that it offers (--alpn)',
    ja4: 'its fingerprint (--ja4)',
  };
  return names.map((name) => called[name]).join(', ');
}

function admission({
  admission: { admitted, why },
  proxy_header_from,
  peer_trusted,
  unread,
}: Explanation): string[] {
  if (peer_trusted === false)
    return [`refused: accept_proxy_protocol is for peers in ${some(proxy_header_from ?? [])}`];
  const verdict = admitted === null ? 'not known' : admitted ? 'let in' : 'refused';
  return [
    `${verdict}: ${why}`,
    ...(proxy_header_from
      ? [`its address comes from the PROXY header that peers in ${some(proxy_header_from)} must send`]
      : []),
    ...(unread
      ? ['every route here is `tls: off`, so nothing that it says is read before it is routed']
      : []),
  ];
}

/**
 * Shows only those routes for other clients that the user is likely to look for, since there may be
 * thousands.
 */
function routes({ routes: all }: Explanation): string[] {
  const near = all.filter(({ failed }) => failed !== 'sni' && failed !== 'tls');
  const other = all.filter(({ failed }) => failed === 'sni' || failed === 'tls');
  const more = other.length - maxOther;
  return [
    ...[...near, ...other.slice(0, maxOther)].map(sentence),
    ...(more > 0 ? [`and ${more} more that are for other names (--json has them all)`] : []),
    ...(near.some(({ failed }) => failed === 'specificity') && !near.some(({ failed }) => failed === null)
      ? ['routes of less specific names are not tried in place of those that failed']
      : []),
  ];
}

const maxOther = 10;

function sentence({ route, failed, why }: ExplainedRoute): string {
  return failed === null ? `route ${route}: taken` : `route ${route}: not taken, ${why}`;
}

const passedThrough = "goes through as it is: certificate and client authentication are the upstream's";

function termination({ alpn, version, cipher, ...tls }: ClientSide): string[] {
  const agreed = version === null ? '' : `; with it ${version}${cipher === null ? '' : `, ${cipher}`}`;
  return [
    `ends here: ${versions(tls)}${agreed}`,
    ...(alpn.spoken === null ? [] : [`ALPN: ${agreement(alpn)}`]),
  ];
}

/** Turns Node's `TLSv1.2` into the usual spelling. */
function versions({ min_version, max_version }: { min_version: string; max_version: string }): string {
  const [min, max] = [min_version, max_version].map((version) => version.replace('TLSv', ''));
  return min === max ? `TLS ${min}` : `TLS ${min} to ${max}`;
}

function agreement({ spoken, agreed, fails }: ClientSide['alpn']): string {
  const list = (spoken ?? []).join(', ');
  if (agreed !== null) return `${agreed} is agreed`;
  if (fails)
    return `only ${list} is spoken here, which the client does not offer; it gets the alert no_application_protocol`;
  return `${list} is spoken here; the client offers no protocol, and needs none`;
}

function certificate({ certificate: { name, pairs } }: ClientSide, sni: string | null): string[] {
  const lines = pairs.map(({ key_type, sans, subject, expires, days_left, shown }) => {
    const names = sans === null ? subject : some(sans.split(', ').map((san) => san.replace(/^DNS:/, '')));
    const when = days_left < 0 ? 'EXPIRED' : 'expires';
    const other = shown === false ? '; not shown to this client' : '';
    return `${name} (${key_type}): ${names}; ${when} ${expires.slice(0, 10)}, ${days(days_left)}${other}`;
  });
  const misnamed = pairs.some(({ is_for_name }) => is_for_name === false);
  return [...lines, ...(misnamed ? [`it is not for ${sni}: a client that checks names refuses it`] : [])];
}

function days(left: number): string {
  const count = counted(Math.abs(left), 'day');
  return left < 0 ? `${count} ago` : `in ${count}`;
}

function demands({ client_auth }: ClientSide, given: Explanation['client']['certificate']): string[] {
  if (client_auth === null) return ['no certificate is asked of it'];
  const { mode, authority, crl, pins, allow, authorize, admitted } = client_auth;
  const trusted = pins
    ? `have a pinned key (${counted(pins.length, 'pin')})`
    : `be issued by authority ${authority}${crl ? ' and not revoked' : ''}`;
  return [
    mode === 'require'
      ? `must present a certificate, which must ${trusted}`
      : `may come without a certificate; one that it presents must ${trusted}`,
    ...(allow ? [`and have ${allow.map(ruleText).join('; or ')}`] : []),
    ...(authorize ? [`then ${authorize} decides`] : []),
    ...(admitted === null
      ? []
      : [`with${given === 'none' ? 'out one' : ' this one'}: ${admitted ? 'let in' : 'refused'}`]),
  ];
}

function ruleText(rule: Readonly<Record<string, string | undefined>>): string {
  return Object.entries(rule)
    .map(([key, value]) => `${key} ${value}`)
    .join(' and ');
}

function endpoints(upstream: UpstreamSide, fails: boolean): string[] {
  const { name, order_is_exact, balance, attempts, connect_ms, allow_addresses } = upstream;
  const several = upstream.endpoints.length > 1;
  const spare = upstream.endpoints.some(({ priority }) => priority > 0);
  const order = order_is_exact
    ? 'in this order'
    : `by ${balance}${spare ? ', a higher priority number only while none of a lower one is up' : ''}`;
  const templated = upstream.endpoints.some(({ configured }) => configured.includes('{sni'));
  return [
    several ? `${name}, ${order}:` : `${name}:`,
    ...upstream.endpoints.map(endpointText),
    ...(several
      ? [
          `${attempts === 1 ? 'one of them is' : `up to ${attempts} of them are`} tried${patience(connect_ms)}`,
        ]
      : []),
    ...(upstream.warm && !fails ? [warmText(upstream.warm)] : []),
    ...(templated && allow_addresses && !fails
      ? [`if it resolves to an address in ${some(allow_addresses)}`]
      : []),
  ];
}

function endpointText({
  endpoint,
  configured,
  priority,
  weight,
  error,
}: UpstreamSide['endpoints'][number]): string {
  if (error) return `not ${configured}: ${error.message}`;
  const extras = [priority > 0 && `priority ${priority}`, weight !== 1 && `weight ${weight}`].filter(Boolean);
  return [endpoint, ...extras].join(', ');
}

function warmText({ connections, until, because }: NonNullable<UpstreamSide['warm']>): string {
  const what = until === 'tls' ? 'connections with TLS' : 'TCP connections';
  const why = because === null ? '' : ` (${because})`;
  return `each worker keeps ${connections} ${what} to each ready${why}`;
}

function patience(ms: number | null): string {
  if (ms === null) return '';
  return `, for ${ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`} each`;
}

function seen(
  { proxy_header, starttls, tls, endpoints: all }: UpstreamSide,
  passesThrough: boolean,
): string[] {
  return [
    ...(proxy_header ? [headerText(proxy_header)] : []),
    ...(starttls ? [`a request for TLS (starttls: ${starttls})`] : []),
    ...(tls ? tlsText(tls, all) : [passesThrough ? "the client's own TLS" : 'plain bytes, no TLS']),
  ];
}

function headerText({ version, address, tlvs }: NonNullable<UpstreamSide['proxy_header']>): string {
  const sent = tlvs
    .filter((it) => it.sent)
    .map(({ tlv, value }) => (value === null ? tlv : `${tlv} ${value}`));
  const left = tlvs.filter((it) => !it.sent).map(({ tlv }) => tlv);
  return [
    `a PROXY header, ${version}, with the client's address${address === null ? '' : ` ${address}`}`,
    ...(sent.length > 0 ? [`; TLVs: ${sent.join(', ')}`] : []),
    ...(left.length > 0 ? [`; left out, having no value: ${left.join(', ')}`] : []),
  ].join('');
}

function tlsText(tls: NonNullable<UpstreamSide['tls']>, all: UpstreamSide['endpoints']): string[] {
  const { alpn, certificate: ours } = tls;
  const names = [...new Set(all.flatMap(({ sni }) => sni ?? []))];
  return [
    `${versions(tls)}, ${names.length === 0 ? 'without a name (SNI)' : `for ${some(names)}`}${
      alpn ? `, offering ${alpn.join(', ')}` : ''
    }`,
    ours ? `our certificate ${ours.name} (${ours.subject})` : 'no certificate of ours',
    verification(tls, all),
  ];
}

function verification(
  { verify, authority, pins }: NonNullable<UpstreamSide['tls']>,
  all: UpstreamSide['endpoints'],
): string {
  const names = [...new Set(all.flatMap(({ server_name }) => server_name ?? []))];
  const pinned = pins ? ` and have a pinned key (${counted(pins.length, 'pin')})` : '';
  switch (verify) {
    case 'full':
      return `its certificate must be issued by ${authority} and be for ${some(names)}${pinned}`;
    case 'ca':
      return `its certificate must be issued by ${authority}${pinned}; its name does not count`;
    case 'pin':
      return `its key must be a pinned one (${counted(pins?.length ?? 0, 'pin')})`;
    case 'none':
      return 'its certificate is not verified: anyone can pass for it';
  }
}

/** Explains what the errors most likely mean. */
import { protocolOf } from '../../../protocols/table.ts';
import type { Figures } from './figures.ts';
import type { Plan } from './plan.ts';

/** One sentence for each kind of error that has a usual cause; most frequent first. */
export function hintsOf({ errors, resumed }: Figures, plan: Plan): string[] {
  const kinds = new Map<string, string[]>();
  for (const kind of Object.keys(errors.kinds)) {
    const hint = hintOf(kind, plan);
    if (hint !== undefined) kinds.set(hint, [...(kinds.get(hint) ?? []), kind]);
  }
  const hints = [...kinds].map(([hint, of]) => `${of.join(', ')}: ${hint}`);
  if (plan.tls?.resume && resumed.full > 0) {
    const total = resumed.full + resumed.resumed;
    hints.push(
      `${resumed.full} of ${total} handshakes were not resumed: the server may have changed its ticket keys, or may not resume at all`,
    );
  }
  return hints;
}

function hintOf(kind: string, plan: Plan): string | undefined {
  if (plan.exchange.kind === 'messages' && plan.exchange.answer === 'echo' && echoKinds.has(kind)) {
    const tls = plan.tls ? '' : ' It may also speak TLS: leave out --plain.';
    return `the target does not echo what it is sent: see --size 0, --send with --expect-bytes, or --until-close.${tls}`;
  }
  if (/^alert_(\w*certificate\w*|unknown_ca)$/.test(kind)) {
    return 'the target refuses the client certificate, or demands one: --cert and --key';
  }
  if (/^(CERT_|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO|ERR_TLS_CERT_ALTNAME)/.test(kind)) {
    return "the target's certificate does not verify: see --ca and --sni, or leave out --ca";
  }
  return hints[kind] ?? hintsOfStarttls(plan)[kind];
}

function hintsOfStarttls({ starttls }: Plan): Readonly<Record<string, string>> {
  const title = protocolOf(starttls)?.title;
  return {
    closed_in_starttls: `the target hung up on STARTTLS: it may be no ${title} server, or take TLS at once`,
    starttls_refused: `the target has no TLS behind STARTTLS, or is no ${title} server`,
  };
}

const echoKinds = new Set(['timeout', 'wrong_echo', 'extra_bytes', 'short_answer']);

const hints: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  ENOENT: 'there is no such socket',
  not_tls: 'the target does not speak TLS from the first byte: --plain, or --starttls',
  timeout: 'nothing came, or less than the whole answer, within --timeout',
  // What OpenSSL makes of its own ClientHello.
  ERR_SSL_UNEXPECTED_MESSAGE: 'the target speaks no TLS, but echoes the handshake: --plain',
  closed_in_handshake:
    'the target hung up on the handshake: it may speak no TLS (--plain), want STARTTLS, a PROXY header or a server name (--sni), or be full',
  alert_unrecognized_name: 'the target does not know that server name: --sni',
  alert_access_denied: 'the target denies that server name or client',
  alert_no_application_protocol: 'the target takes none of the protocols offered: --alpn',
  alert_protocol_version: 'the target does not speak that version: --tls',
  alert_handshake_failure:
    'no cipher, group or signature in common (--ciphers, --groups, --sigalgs), or the target demands a certificate (--cert, --key)',
  max_open: 'as many were open as --max-open allows: the target does not keep up with --rate',
  EADDRNOTAVAIL: 'the local ports are used up, most by connections in TIME_WAIT: --close reset leaves none',
  EMFILE: 'out of file descriptors: ulimit -n',
  ECONNRESET: 'the target, or what stands before it, reset the connection: see its log',
};

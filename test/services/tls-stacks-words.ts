/** What the clients of TLS stacks print, and what penstock logs of them, in the same few words. */
import type { LogLine } from '../support/proxy.ts';

/** Alerts by number, as RFC 8446 §6 names them. */
const alerts: Readonly<Record<number, string>> = {
  20: 'bad_record_mac',
  40: 'handshake_failure',
  42: 'bad_certificate',
  43: 'unsupported_certificate',
  44: 'certificate_revoked',
  45: 'certificate_expired',
  46: 'certificate_unknown',
  47: 'illegal_parameter',
  48: 'unknown_ca',
  49: 'access_denied',
  50: 'decode_error',
  51: 'decrypt_error',
  70: 'protocol_version',
  71: 'insufficient_security',
  80: 'internal_error',
  116: 'certificate_required',
};

/** Libraries that name an alert otherwise, and ends without one. */
const otherwise: readonly (readonly [RegExp, string])[] = [
  [/unknown certificate authority/i, 'unknown_ca'],
  [/reset/i, 'reset'],
  [/broken pipe/i, 'broken pipe'],
  [/closed|eof|premature|terminated|end_of_file|unexpected_message/i, 'closed'],
];

/**
 * A word for each connection that a client printed: `full` or `resumed` if all came back, `reset` if it did that, or how it failed: the
 * alert's name, `closed` or, with words of its own, what it says.
 */
export function seenBy(output: string): string[] {
  const seen: string[] = [];
  let under: string | undefined;
  for (const line of output.split('\n')) {
    const [event, ...words] = line.split(' ');
    if (event === 'connected') under = words.join(' ');
    if (event === 'echoed' || event === 'reset') {
      if (under !== undefined) seen.push(event === 'reset' ? `${under}, reset` : under);
      under = undefined;
    }
    if (event === 'alert') seen.push(alerts[Number(words[0])] ?? line);
    if (event === 'failed') seen.push(failure(words.join(' ')));
    if (event === 'alert' || event === 'failed') under = undefined;
  }
  return seen;
}

/** A word for each line of the access log: version, `full` or `resumed`, and the code if there is one. */
export function logged(lines: readonly LogLine[]): string[] {
  return lines.map((line) => {
    const tls = line['tls'] as { version: string; resumed: boolean } | undefined;
    const handshake = tls && [`${tls.version} ${tls.resumed ? 'resumed' : 'full'}`];
    return [...(handshake ?? []), ...(line['code'] ? [String(line['code'])] : [])].join(', ');
  });
}

function failure(words: string): string {
  const plain = words.toLowerCase().replace(/[^a-z]+/g, '_');
  const alert = Object.values(alerts).find((name) => plain.includes(name));
  return alert ?? otherwise.find(([pattern]) => pattern.test(words))?.[1] ?? words;
}

/** Formats a survey's findings for a terminal of 80 columns. */
import { counted, harmless, section } from '../terminal/text.ts';
import type { ProbeDescription } from './describe.ts';

type Certificate = ProbeDescription['certificates'][number];

/** `trusted` names what was trusted: the system's roots, or a file. */
export function formatProbe(found: ProbeDescription, trusted: string): string {
  const { target, address, starttls, sni } = found;
  const about = [
    address === target ? '' : address,
    starttls ? `STARTTLS ${starttls}` : '',
    sni === null ? 'no server name' : `server name ${sni}`,
  ];
  return [
    `${target}: ${about.filter((part) => part !== '').join(', ')}\n`,
    section('Versions', [versions(found)]),
    section('TLS 1.3', ciphers(found.ciphers['TLS 1.3'])),
    section('TLS 1.2', ciphers(found.ciphers['TLS 1.2'])),
    section('Groups', ciphers(found.groups)),
    section('ALPN', [protocols(found)]),
    section('Resumption', [resumption(found)]),
    section('Client', clientCertificate(found)),
    ...found.certificates.map((certificate) => describeCertificate(certificate, found, trusted)),
    section('penstock', [ownSettings(found)]),
    section('Asked by', [`${counted(found.connections, 'connection')}, one at a time${stopped(found)}`]),
  ].join('');
}

function versions({ versions: known }: ProbeDescription): string {
  const list = (offered: boolean) => Object.keys(known).filter((version) => known[version] === offered);
  const refused = list(false);
  return list(true).join(', ') + (refused.length > 0 ? `; not ${refused.join(', ')}` : '');
}

const orders = { server: ' (in the server’s order)', client: ' (the client’s order decides)' } as const;

function ciphers(found: ProbeDescription['groups']): string[] {
  if (found === null || found.accepted.length === 0) return [];
  return [found.accepted.join(', ') + (found.preference === null ? '' : orders[found.preference])];
}

function protocols({ alpn: { accepted, demanded } }: ProbeDescription): string {
  const rule = demanded ? '; it takes nobody who offers none' : '';
  if (accepted === null) return `not asked${rule}`;
  return (accepted.length === 0 ? 'none of those offered' : accepted.join(', ')) + rule;
}

function resumption({ resumption: kinds }: ProbeDescription): string {
  const words = Object.entries(kinds).flatMap(([kind, does]) =>
    does === null ? [] : [`${kind}: ${does ? 'yes' : 'no'}`],
  );
  return words.length === 0 ? 'not found out' : words.join('; ');
}

function clientCertificate({
  client_certificate: { verdict, reason, authorities },
}: ProbeDescription): string[] {
  if (verdict === null) return ['it asks for no certificate'];
  const verdicts = {
    required: `it demands a certificate (${reason}): --cert and --key`,
    optional: 'it asks for a certificate, and lets clients without one through the handshake',
    accepted: 'it asks for a certificate, and takes this one',
    refused: `it asks for a certificate, and refuses this one (${reason})`,
    unclear: `it asks for a certificate, and hung up right after the handshake without a word (${reason})`,
  };
  const shown = authorities.slice(0, 10);
  const more = authorities.length - shown.length;
  return [
    verdicts[verdict],
    ...(shown.length === 0 ? ['of any CA, as far as it says'] : shown.map((name) => `of ${name}`)),
    ...(more > 0 ? [`and of ${more} more CAs`] : []),
  ];
}

function describeCertificate(
  certificate: Certificate,
  { sni, target }: ProbeDescription,
  trusted: string,
): string {
  const { key, subject, issuer, sans, expires, days_left, pin, chain } = certificate;
  const names = sans.length === 0 ? 'no subjectAltName' : sans.slice(0, 10).join(', ');
  const more = sans.length > 10 ? ` and ${sans.length - 10} more` : '';
  return (
    section('Certificate', [
      `${key}, ${subject === '' ? 'without a subject' : subject}`,
      `for ${names}${more}`,
      `by ${issuer === '' ? 'an issuer without a name' : issuer}`,
      `until ${expires.slice(0, 10)}, ${daysLeft(days_left)}`,
      ...verdict(certificate, sni ?? target, trusted),
      pin,
    ]) + section('Chain', [sentChain(chain)])
  );
}

function daysLeft(days: number): string {
  return days < 0 ? `EXPIRED ${counted(-days, 'day')} ago` : `${counted(days, 'day')} left`;
}

function verdict(
  { verified, reason, fault, is_for_name }: Certificate,
  name: string,
  trusted: string,
): string[] {
  const trust = verified ? `trusted by ${trusted}` : `NOT trusted by ${trusted}: ${reason} (${fault})`;
  if (is_for_name === null) return [trust];
  return [trust, is_for_name ? `it is for ${harmless(name)}` : `it is NOT for ${harmless(name)}`];
}

const oddities = {
  unordered: 'not in order',
  unrelated: 'some do not belong to it',
  root: 'the root is sent too, which nobody needs',
} as const;

function sentChain({ state, missing, sent, oddities: odd }: Certificate['chain']): string {
  const states = {
    complete: 'complete',
    self_signed: 'self-signed',
    untrusted_root: 'its root is not trusted',
    incomplete: `INCOMPLETE: the issuer is neither sent nor trusted, ${missing}`,
  };
  const remarks = [states[state], ...odd.map((one) => oddities[one])].join('; ');
  return `${counted(sent.length, 'certificate')}, ${remarks}`;
}

function ownSettings({
  penstock,
  client_certificate: { verdict },
  versions: known,
}: ProbeDescription): string {
  if (penstock.connects) {
    const however = verdict === 'required' || verdict === 'refused' ? ', and is then refused' : '';
    return `connects by default with ${penstock.version}, ${penstock.cipher}${however}`;
  }
  if (verdict === 'required') return 'connects by default once it has a certificate';
  if (!known['TLS 1.3'] && !known['TLS 1.2']) return 'cannot connect: it speaks TLS 1.2 and TLS 1.3 alone';
  return `cannot connect by default: ${penstock.reason}`;
}

function stopped({ stopped: reason }: ProbeDescription): string {
  return reason === null ? '' : `; not all was asked: ${reason}`;
}

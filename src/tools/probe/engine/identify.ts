/** Identifies a protocol other than TLS by its first bytes. */
import { protocolNames, protocols } from '../../../protocols/table.ts';
import { Failure } from './failure.ts';

/** The failure that names the protocol; `said` is what arrived, of which the first line is shown. */
export function identify(said: Buffer): Failure {
  const text = said.toString('latin1');
  const known = spoken(text) ?? others.find(({ pattern }) => pattern.test(text));
  const shown = firstLine(text);
  const what = known ? `it speaks ${known.name}, not TLS` : 'it speaks no TLS';
  return new Failure('not_tls', shown === '' ? what : `${what}: it said "${shown}"`, {
    hint:
      known?.hint ??
      `reach it in plain text, by an upstream without tls; if its protocol asks for TLS in its own way, penstock speaks only that of ${titles} (${flags})`,
  });
}

/** A protocol in which penstock can request TLS. */
function spoken(text: string): { name: string; hint: string } | undefined {
  const found = protocolNames.find((name) => protocols[name].saysInstead.test(text));
  return found && { name: protocols[found].title, hint: `--starttls ${found}` };
}

const titles = protocolNames.map((name) => protocols[name].title).join(', ');
const flags = protocolNames.map((name) => `--starttls ${name}`).join(', ');

const inPlain = 'reach it in plain text, by an upstream without tls';

const others: readonly { name: string; pattern: RegExp; hint: string }[] = [
  {
    name: 'SSH',
    pattern: /^SSH-\d/,
    hint: 'SSH has its own encryption: pass it on by a route with tls: off',
  },
  { name: 'HTTP', pattern: /^(HTTP\/\d|<!doctype|<html)/i, hint: `${inPlain}, or find its port for HTTPS` },
  {
    name: 'FTP or SMTP',
    pattern: /^220[ -]/,
    hint: '--starttls smtp if it is SMTP; how FTP begins TLS penstock does not speak',
  },
  { name: 'Redis', pattern: /^-(ERR|DENIED|NOAUTH)/, hint: `${inPlain}, or set its tls-port` },
  { name: 'AMQP', pattern: /^AMQP/, hint: `${inPlain}, or find its port with TLS (5671)` },
  { name: 'VNC', pattern: /^RFB \d/, hint: inPlain },
];

/** Only printable ASCII, and little of it, since the text is untrusted. */
function firstLine(text: string): string {
  const [line = ''] = text.split(/[\r\n]+/).filter((part) => /[ -~]{2}/.test(part));
  const printable = line.replace(/[^ -~]+/g, '.').trim();
  return printable.length > 60 ? `${printable.slice(0, 60)}…` : printable;
}

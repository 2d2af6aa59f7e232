/** Parses subject alternative names as typed by users. */
import { isIP } from 'node:net';
import { ProxyError } from '../../errors.ts';

export type SubjectAltName = { readonly kind: 'dns' | 'ip' | 'uri' | 'email'; readonly value: string };

/**
 * Parses `dns:NAME`, `ip:ADDRESS`, `uri:URI` or `email:ADDRESS`, or one without a prefix if its kind is
 * obvious. Throws ERR_CONFIG for anything else.
 */
export function parseSubjectAltName(text: string): SubjectAltName {
  const prefixed = /^(dns|ip|uri|email):(.*)$/is.exec(text);
  const kind = prefixed ? (prefixed[1]?.toLowerCase() as SubjectAltName['kind']) : evidentKind(text);
  const value = prefixed?.[2] ?? text;
  if (kind === undefined || !isValid[kind](value)) {
    throw new ProxyError('ERR_CONFIG', {
      side: 'proxy',
      message: `"${text}" is not a subject alternative name`,
      hint: 'expected dns:NAME, ip:ADDRESS, uri:URI or email:ADDRESS',
    });
  }
  return { kind, value: kind === 'dns' ? value.toLowerCase() : value };
}

function evidentKind(text: string): SubjectAltName['kind'] | undefined {
  const kinds = ['ip', 'uri', 'email', 'dns'] as const;
  return kinds.find((kind) => isValid[kind](text));
}

const isValid: Record<SubjectAltName['kind'], (value: string) => boolean> = {
  dns: (value) =>
    value.length <= 253 &&
    /^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(value),
  ip: (value) => isIP(value) !== 0 && !value.includes('%'),
  uri: (value) => /^[a-z][a-z0-9+.-]*:\/\/[!-~]+$/i.test(value),
  email: (value) => /^[!-?A-~]+@[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(value),
};

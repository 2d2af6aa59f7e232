/** A survey's findings as plain values, for `--json` and the tables. */
import type { X509Certificate } from 'node:crypto';
import { daysLeft, nameOf } from '../../config/material/describe.ts';
import { formatEndpoint } from '../../net/written-address.ts';
import { registeredName } from '../../openssl/registries.ts';
import { chainReason } from '../../tls/upstream/verify-upstream.ts';
import { printName, readCertificate } from '../../x509/certificate-names.ts';
import { pinOf } from '../../x509/pin.ts';
import { harmless } from '../terminal/text.ts';
import type { Accepted, Findings, FoundCertificate, Questions } from './engine/findings.ts';

/** What `--json` prints; null means that it could not be found out. */
export type ProbeDescription = ReturnType<typeof describeFindings>;

export function describeFindings(target: string, questions: Questions, findings: Findings) {
  const { ciphers13, ciphers12, groups, resumption, request, own } = findings;
  return {
    target,
    address: formatEndpoint(questions.way.place),
    starttls: questions.way.starttls ?? null,
    sni: questions.name ?? null,
    connections: findings.connections,
    connect_ms: Math.round(findings.connectMs * 10) / 10,
    versions: Object.fromEntries(
      [...findings.versions]
        .sort(([a], [b]) => b - a)
        .map(([version, offered]) => [registeredName('versions', version), offered]),
    ),
    ciphers: { 'TLS 1.3': accepted('ciphers', ciphers13), 'TLS 1.2': accepted('ciphers', ciphers12) },
    groups: accepted('groups', groups),
    alpn: { accepted: findings.alpn?.map(harmless) ?? null, demanded: findings.demandsAlpn },
    resumption: {
      'TLS 1.3': resumption.tls13 ?? null,
      'TLS 1.2 by ticket': resumption.tickets ?? null,
      'TLS 1.2 by session ID': resumption.ids ?? null,
    },
    client_certificate: {
      asked: request !== undefined,
      verdict: findings.clientCertificate ?? null,
      reason: request !== undefined ? (own?.failure ?? null) : null,
      authorities: request?.authorities.map(printName) ?? [],
    },
    certificates: findings.certificates.map(describeCertificate),
    penstock: {
      connects: own?.version !== undefined,
      version: own?.version ?? null,
      cipher: own?.cipher ?? null,
      reason: own?.version === undefined ? (own?.failure ?? null) : null,
    },
    stopped: findings.stopped ?? null,
  };
}

function accepted(field: 'ciphers' | 'groups', found: Accepted | undefined) {
  if (!found) return null;
  const { values, preference } = found;
  return { accepted: values.map((value) => registeredName(field, value)), preference: preference ?? null };
}

function describeCertificate({ leaf, sent, chain, fault, named: isNamed }: FoundCertificate) {
  return {
    ...describeOne(leaf),
    key: keyOf(leaf),
    sans: [...(readCertificate(leaf.raw)?.sans ?? [])],
    pin: pinOf(leaf),
    fingerprint: leaf.fingerprint256.replaceAll(':', '').toLowerCase(),
    verified: fault === undefined,
    fault: fault ?? null,
    reason: fault === undefined ? null : chainReason(fault).what,
    is_for_name: isNamed ?? null,
    chain: {
      state: chain.state,
      missing: chain.missing === undefined ? null : harmless(chain.missing.replaceAll('\n', ', ')),
      oddities: [...chain.oddities],
      sent: sent.map(describeOne),
    },
  };
}

function describeOne(certificate: X509Certificate) {
  const expires = new Date(certificate.validTo);
  return {
    subject: readCertificate(certificate.raw)?.subject ?? harmless(nameOf(certificate)),
    issuer: issuerOf(certificate),
    expires: expires.toISOString(),
    days_left: daysLeft(expires),
  };
}

function issuerOf(certificate: X509Certificate): string {
  const der = readCertificate(certificate.raw)?.issuerDer;
  return der ? printName(der) : harmless((certificate.issuer ?? '').replaceAll('\n', ', '));
}

/** `EC P-256`, `RSA 2048`. */
function keyOf({ publicKey }: X509Certificate): string {
  const { namedCurve, modulusLength } = publicKey.asymmetricKeyDetails ?? {};
  const size = namedCurve === undefined ? modulusLength : (curves[namedCurve] ?? namedCurve);
  return [publicKey.asymmetricKeyType?.toUpperCase() ?? 'unknown', size ?? ''].join(' ').trim();
}

const curves: Readonly<Record<string, string>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
};

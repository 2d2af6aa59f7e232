/** Writes an upstream that fits a survey's findings, as a configuration that `penstock check` accepts. */
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { Document, type Node } from 'yaml';
import { parseEndpoint } from '../../net/written-address.ts';
import type { ProbeDescription } from './describe.ts';
import type { ProbeFlags } from './flags.ts';

/** Returns the YAML, or the reason why there is none. */
export function yamlFor(found: ProbeDescription, flags: ProbeFlags): { yaml: string } | { reason: string } {
  const { versions } = found;
  if (!versions['TLS 1.2'] && !versions['TLS 1.3']) {
    return { reason: 'penstock speaks TLS 1.2 and TLS 1.3, and this endpoint neither' };
  }
  if (found.certificates.length === 0)
    return { reason: 'its certificate was not seen, so there is nothing to trust it by' };
  const name = upstreamName(found.target);
  const trust = trustFor(found, flags);
  const doc = new Document({
    ...trust.sections,
    ...certificateSection(found, flags),
    upstreams: {
      [name]: {
        endpoints: [found.target],
        tls: {
          ...(found.starttls ? { starttls: found.starttls } : {}),
          ...trust.tls,
          ...(presents(found, flags) ? { certificate: clientName } : {}),
          ...alpnFor(found, flags),
          min_version: versions['TLS 1.3'] ? '1.3' : '1.2',
          ...ciphersFor(found),
        },
      },
    },
    listeners: { [name]: exampleListener(name, found.starttls) },
  });
  comment(doc, ['listeners'], ' an example: plain clients of this machine in, TLS out. Write your own.');
  comment(
    doc,
    ['upstreams', name, 'tls'],
    [...trust.remarks, ...clientRemarks(found, flags)].map((line) => ` ${line}`).join('\n'),
  );
  doc.commentBefore = ` what penstock probe ${found.target} found on ${new Date().toISOString().slice(0, 10)}`;
  return { yaml: doc.toString({ lineWidth: 0 }) };
}

const clientName = 'client';
const authorityName = 'upstream-ca';

type Trust = {
  readonly tls: Record<string, unknown>;
  readonly sections: Record<string, unknown>;
  readonly remarks: readonly string[];
};

/** By the authority if all certificates verify against it, otherwise by their keys. */
function trustFor({ certificates, sni, target }: ProbeDescription, { ca }: ProbeFlags): Trust {
  const verified = certificates.every((one) => one.verified);
  const serverName = certificates.every((one) => one.is_for_name)
    ? (sni ?? hostOf(target))
    : otherName(certificates);
  if (!verified || serverName === undefined) {
    const why = verified
      ? 'it has no name that could be verified'
      : `it is not trusted by ${ca}: ${certificates.find((one) => !one.verified)?.reason}`;
    return {
      tls: {
        ...(sni === null ? {} : { server_name: sni }),
        verify: 'pin',
        pins: certificates.map(({ pin }) => pin),
      },
      sections: {},
      remarks: [
        `Its key is pinned, because ${why}.`,
        'Before you rely on the pin, compare it with what the owner of the server tells you.',
      ],
    };
  }
  const isOther = serverName !== (sni ?? hostOf(target));
  return {
    tls: { server_name: serverName, authority: ca === 'system' ? 'system' : authorityName },
    sections: ca === 'system' ? {} : { authorities: { [authorityName]: { ca: resolve(ca) } } },
    remarks: isOther
      ? [
          `The certificate is not for ${sni ?? hostOf(target) ?? 'a unix socket'} but for this server_name: make sure that it is whom you mean.`,
        ]
      : [],
  };
}

/** A name, not a wildcard, that all certificates have. */
function otherName(certificates: ProbeDescription['certificates']): string | undefined {
  const names = certificates.map(({ sans }) =>
    sans.flatMap((san) => /^(?:DNS|IP(?: Address)?):([^*\s]+)$/.exec(san)?.[1] ?? []),
  );
  return names[0]?.find((name) => names.every((others) => others.includes(name)));
}

function hostOf(target: string): string | undefined {
  const endpoint = parseEndpoint(target);
  return endpoint && 'host' in endpoint ? endpoint.host : undefined;
}

function presents(
  { client_certificate: { asked, verdict } }: ProbeDescription,
  { cert, key }: ProbeFlags,
): boolean {
  return asked && verdict !== 'refused' && cert !== undefined && key !== undefined;
}

function certificateSection(found: ProbeDescription, flags: ProbeFlags): Record<string, unknown> {
  if (!presents(found, flags)) return {};
  return {
    certificates: { [clientName]: { cert: resolve(flags.cert ?? ''), key: resolve(flags.key ?? '') } },
  };
}

function clientRemarks(found: ProbeDescription, flags: ProbeFlags): string[] {
  const { verdict, authorities } = found.client_certificate;
  if (verdict === null || verdict === 'accepted') return [];
  if (verdict === 'unclear' && presents(found, flags)) {
    return ['It took the client certificate and then hung up without a word: its own log may say why.'];
  }
  const whose =
    authorities.length === 0
      ? ''
      : `, of ${authorities.slice(0, 3).join(' or ')}${authorities.length > 3 ? ' or others' : ''}`;
  const demands = {
    required: `It demands a client certificate${whose}:`,
    refused: `It refuses the client certificate that was shown, and wants one${whose}:`,
    unclear: `It asks for a client certificate${whose}, and hung up after the handshake:`,
    optional: `It asks for a client certificate${whose}; without one its own rules may refuse you later:`,
  };
  return [demands[verdict], 'add `certificate: NAME`, a name under `certificates`.'];
}

function alpnFor(
  { alpn: { accepted, demanded } }: ProbeDescription,
  flags: ProbeFlags,
): Record<string, unknown> {
  const alpn = (flags.alpn || demanded) && accepted && accepted.length > 0 ? accepted : undefined;
  return alpn ? { alpn } : {};
}

/** Only if the server has none of the default ciphers: the ones it accepted when offered everything. */
function ciphersFor({
  penstock,
  client_certificate,
  ciphers,
  versions,
}: ProbeDescription): Record<string, unknown> {
  if (penstock.connects || client_certificate.verdict === 'required' || versions['TLS 1.3']) return {};
  const accepted = ciphers['TLS 1.2']?.accepted ?? [];
  return accepted.length > 0 ? { ciphers: accepted.slice(0, 3) } : {};
}

function exampleListener(upstream: string, starttls: string | null): object {
  return {
    bind: '127.0.0.1:15432',
    ...(starttls ? { starttls } : {}),
    routes: [{ tls: 'off', upstream }],
  };
}

/** A name that the configuration accepts. */
function upstreamName(target: string): string {
  const host = hostOf(target) ?? target.replace(/^unix:/, '');
  const name = (isIP(host) ? `host-${host}` : host)
    .replace(/[^A-Za-z0-9.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '');
  return name.slice(0, 63) || 'upstream';
}

function comment(doc: Document, path: readonly string[], text: string): void {
  const node = doc.getIn(path, true) as Node | undefined;
  if (node && text !== '') node.commentBefore = text;
}

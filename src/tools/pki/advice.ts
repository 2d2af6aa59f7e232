/** Explains how to use what was made: YAML blocks, ready to paste. */
import { stringify } from 'yaml';
import type { SubjectAltName } from './subject-alt-name.ts';

/** What was issued, in the configuration's terms. */
type Issued = {
  readonly name: string;
  readonly names: readonly SubjectAltName[];
  readonly pin: string;
  readonly client: boolean;
  readonly selfSigned: boolean;
  /** Whether it is for servers and clients, like one with a SPIFFE ID. */
  readonly isForBoth: boolean;
};

/** The lines of a route or an upstream that trust it. */
export function howToTrust(issued: Issued): string {
  if (!issued.isForBoth) return howOneSideTrusts(issued);
  return [true, false].map((client) => howOneSideTrusts({ ...issued, client })).join('\n');
}

function howOneSideTrusts({ name, names, pin, client, selfSigned }: Issued): string {
  if (client && selfSigned) {
    return `a route lets this client in by\n\n${stringify({ tls: { client_auth: { mode: 'require', pins: [pin] } } })}`;
  }
  if (client) {
    const client_auth = { mode: 'require', authority: 'dev', allow: [ruleFor(name, names)] };
    return `a route lets this client in by\n\n${stringify({ tls: { client_auth } })}`;
  }
  const presents = `a route presents it by\n\n${stringify({ tls: { certificates: [configName(name)] } })}`;
  if (!selfSigned) return presents;
  const upstream = stringify({ tls: { verify: 'pin', pins: [pin] } });
  return `an upstream that presents it is trusted by\n\n${upstream}\n${presents}`;
}

/**
 * The `allow` entry that admits this client: by its first name usable in rules, otherwise by its common name.
 */
export function ruleFor(name: string, names: readonly SubjectAltName[]): Record<string, string> {
  const known = names.find(({ kind }) => kind !== 'ip');
  return known ? { [known.kind]: known.value } : { cn: name };
}

/** A name for the certificate that the configuration accepts. */
export function configName(name: string): string {
  return name
    .replaceAll('*', 'wildcard')
    .replace(/[^A-Za-z0-9_.-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 63);
}

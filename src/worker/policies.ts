/** The TLS policies of a configuration, which outlive it as far as the next one has the same. */
import { createHash } from 'node:crypto';
import type { LoadedAuthority, LoadedCertificate } from '../config/load.ts';
import type { TerminateConfig } from '../config/schema/schema.ts';
import type { ServedConfig } from '../config/transfer.ts';
import type { PolicyParts } from '../tls/server/policy-servers.ts';
import { createTlsPolicy, type TlsPolicy } from '../tls/server/terminate.ts';

/** The policies of a configuration. */
export type Policies = {
  /** A digest of what all of them have in common. */
  readonly common: string;
  /** By a key of everything they are made of. */
  readonly byKey: Map<string, TlsPolicy>;
  /** By the TLS block: after a reload most are the same objects as before, and made of the same ones. */
  readonly byBlock: Map<TerminateConfig, MadePolicy>;
};

type MadePolicy = Credentials & { readonly key: string; readonly policy: TlsPolicy };

export function createPolicies({ ticketMasters, config: { log } }: ServedConfig): Policies {
  return { common: digest([ticketMasters, log.tls_keys]), byKey: new Map(), byBlock: new Map() };
}

/**
 * Routes with the same TLS block share one policy, so a hundred thousand names need only a few. An unchanged
 * policy is reused from the former configuration, with its secure contexts and the client chains it has
 * learned.
 */
export function sharedPolicies(
  loaded: ServedConfig,
  around: Pick<PolicyParts, 'masters' | 'keyLog'>,
  policies: Policies,
  former: Policies | undefined,
): (config: TerminateConfig) => TlsPolicy {
  const keys = new Map<string, string>();
  const formerBlocks = former?.common === policies.common ? former.byBlock : undefined;
  const make = (config: TerminateConfig, credentials: Credentials): MadePolicy => {
    const text = JSON.stringify(config);
    const key = keys.get(text) ?? keyOf(text, credentials, policies);
    keys.set(text, key);
    const policy =
      policies.byKey.get(key) ??
      former?.byKey.get(key) ??
      createTlsPolicy({ config, ...credentials, ...around });
    return { ...credentials, key, policy };
  };
  return (config) => {
    const credentials = credentialsOf(config, loaded);
    const before = formerBlocks?.get(config);
    const made = before && isSame(before, credentials) ? before : make(config, credentials);
    policies.byBlock.set(config, made);
    policies.byKey.set(made.key, made.policy);
    return made.policy;
  };
}

/** References were checked when the configuration was loaded. */
export function known<T>(map: ReadonlyMap<string, T>, name: string | undefined): T {
  const value = name === undefined ? undefined : map.get(name);
  if (value === undefined) throw new TypeError(`nothing is called ${name}`);
  return value;
}

/** What a policy is made of besides its TLS block. */
type Credentials = {
  readonly certificates: readonly LoadedCertificate[];
  readonly authority: LoadedAuthority | undefined;
  readonly module: string | undefined;
};

function credentialsOf({ certificates, client_auth }: TerminateConfig, loaded: ServedConfig): Credentials {
  const authority = client_auth?.authority;
  return {
    certificates: certificates.map((name) => known(loaded.certificates, name)),
    authority: authority === undefined ? undefined : known(loaded.authorities, authority),
    module: client_auth?.authorize === undefined ? undefined : loaded.modules.get(client_auth.authorize),
  };
}

/** The very same objects. */
function isSame(before: Credentials, now: Credentials): boolean {
  if (before.authority !== now.authority || before.module !== now.module) return false;
  if (before.certificates.length !== now.certificates.length) return false;
  return before.certificates.every((certificate, at) => certificate === now.certificates[at]);
}

/** A digest of everything that a policy is made of, since that includes keys. */
function keyOf(
  config: string,
  { certificates, authority, module }: Credentials,
  { common }: Policies,
): string {
  const credentials = [...certificates.map(digestOfCertificate), authority && digestOfAuthority(authority)];
  return digest([config, module, credentials, common]);
}

/** Those of unchanged objects are remembered, since there may be thousands. */
const digests = new WeakMap<object, string>();

function digestOfCertificate(certificate: LoadedCertificate): string {
  return remembered(certificate, () =>
    certificate.pairs.map(({ cert, key, passphrase, staple }) => [cert, key, passphrase, staple]),
  );
}

function digestOfAuthority(authority: LoadedAuthority): string {
  return remembered(authority, () => [authority.ca, authority.crl]);
}

function remembered(object: object, parts: () => unknown): string {
  const known = digests.get(object) ?? digest(parts());
  digests.set(object, known);
  return known;
}

function digest(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64');
}

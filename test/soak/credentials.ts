/** Who is who in a soak: what the proxy presents (several, to be changed), its clients good and bad, and the endpoints. */
import { type Authority, type Credential, createAuthority, selfSigned } from '../support/certificates.ts';

export type Credentials = {
  readonly ca: Authority;
  readonly clients: Authority;
  /** What the proxy presents, one after the other. */
  readonly own: readonly { readonly ec: Credential; readonly rsa: Credential }[];
  readonly proxyClient: Credential;
  readonly endpoint: Credential;
  readonly client: Credential;
  /** Of the right authority, with a name that no rule allows. */
  readonly notAllowed: Credential;
  readonly revoked: Credential;
  readonly stranger: Credential;
  readonly pinned: Credential;
  readonly unpinned: Credential;
};

/** Of the clients' side; the proxy's own names are all below `.soak.example`. */
export const allowedUri = 'spiffe://soak.example/client';

const generations = 4;

export async function createCredentials(): Promise<Credentials> {
  const [ca, clients, others] = await Promise.all(
    ['Soak CA', 'Soak clients', 'Strangers'].map((name) => createAuthority({ name })),
  );
  if (!ca || !clients || !others) throw new Error('three were made');
  const own = [];
  for (let generation = 0; generation < generations; generation++) {
    const names = { dns: ['*.soak.example'], usage: 'server' } as const;
    own.push({
      ec: await ca.issue(names),
      rsa: await ca.issue({ ...names, keyType: 'rsa' }),
    });
  }
  const client = { uri: [allowedUri], usage: 'client' } as const;
  return {
    ca,
    clients,
    own,
    proxyClient: await ca.issue({ cn: 'penstock', usage: 'client' }),
    endpoint: await ca.issue({ dns: ['endpoint.soak.example', 'pass.soak.example'], usage: 'server' }),
    client: await clients.issue(client),
    notAllowed: await clients.issue({ uri: ['spiffe://soak.example/other'], usage: 'client' }),
    revoked: await clients.issue(client),
    stranger: await others.issue(client),
    pinned: await selfSigned({ cn: 'pinned', usage: 'client' }),
    unpinned: await selfSigned({ cn: 'unpinned', usage: 'client' }),
  };
}

/** The certificate that a test's proxy presents, as sections and files of its configuration. */
import { type Authority, type Credential, createAuthority } from './certificates.ts';

export type OwnCertificate = {
  readonly authority: Authority;
  readonly credential: Credential;
  /** `certificates: { own }` and `authorities: { test }`, which has issued it. */
  readonly sections: { readonly certificates: object; readonly authorities: object };
  readonly files: Readonly<Record<string, string>>;
};

/** A certificate for these names, from an authority of its own. */
export async function ownCertificate(...dns: string[]): Promise<OwnCertificate> {
  const authority = await createAuthority();
  const credential = await authority.issue({ dns });
  return {
    authority,
    credential,
    sections: {
      certificates: { own: { cert: 'own.crt', key: 'own.key' } },
      authorities: { test: { ca: 'ca.crt' } },
    },
    files: { 'own.crt': credential.chain, 'own.key': credential.key, 'ca.crt': authority.cert },
  };
}

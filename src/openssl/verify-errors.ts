/**
 * Explains each of OpenSSL's verify errors (X509_V_ERR_…, x509_txt.c of OpenSSL 3) with a sentence and a
 * remedy. Node has names for thirty of them, and calls all others UNSPECIFIED, but passes on OpenSSL's
 * message.
 */
import { verifyErrorTable } from './verify-error-table.ts';

/**
 * Groups errors: dates, revocation, purpose; `crl`: no usable list to check it with; `issuer`: it does not
 * lead to a trusted CA; `form`: it breaks a rule; `ours`: not the certificate's fault.
 */
type VerifyKind =
  | 'expired'
  | 'not_yet_valid'
  | 'revoked'
  | 'purpose'
  | 'crl'
  | 'crl_stale'
  | 'issuer'
  | 'form'
  | 'ours';

export type VerifyError = {
  readonly kind: VerifyKind;
  /** OpenSSL's message. */
  readonly words: string;
  /** Follows "the certificate"; "it" means that certificate or one above it. */
  readonly what: string;
  readonly remedy: string;
};

/** Looks up an error by OpenSSL's name, which is also Node's if Node has one. */
export function verifyError(name: string): VerifyError | undefined {
  return table.get(name);
}

/** OpenSSL's name for an error that Node reports with this code and this message. */
export function verifyErrorName(code: string, words: string): string {
  return code === 'UNSPECIFIED' ? (names.get(words) ?? code) : code;
}

const remedies: Readonly<Record<VerifyKind, string>> = {
  expired: 'renew it',
  not_yet_valid: 'compare the clocks of this machine and of the CA',
  revoked: 'issue a new one',
  purpose:
    'issue it with the extended key usage for its side of TLS; that of intermediate CAs has to include it, too',
  crl: 'every CA of the chain needs a list that covers what it issued: complete `crl` of the authority',
  crl_stale: 'put a fresh list in `crl` of the authority',
  issuer: 'trust the root that it leads to, and let intermediate CAs be sent along, or add them',
  form: 'issue a new one with a tool that follows RFC 5280',
  ours: 'please report it',
};

const table = new Map(
  verifyErrorTable
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line): [string, VerifyError] => {
      const [name = '', kind = 'form', words = '', what = '', remedy] = line.split(' | ');
      return [
        name,
        { kind: kind as VerifyKind, words, what, remedy: remedy ?? remedies[kind as VerifyKind] },
      ];
    }),
);

const names = new Map([...table].map(([name, { words }]) => [words, name]));

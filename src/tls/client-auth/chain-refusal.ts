/** Turns what Node and OpenSSL say about a client's chain into our codes, and into words that help. */
import type { ConnectionCode, Side } from '../../errors.ts';
import { type VerifyError, verifyError } from '../../openssl/verify-errors.ts';
import type { ChainState } from './issuers.ts';

/** Why a certificate is refused. `what` follows "the client's certificate NAME". */
export type Refusal = {
  readonly code: ConnectionCode;
  readonly what: string;
  readonly hint: string;
  readonly side?: Side;
  /** The alert for the client, if it does not follow from the code. */
  readonly alert?: string;
};

/** The issuer that a certificate names, and whether the authority has a CA of that name. */
type NamedIssuer = { readonly name: string; readonly isKnown: boolean };

/** The refusal for an OpenSSL verify error (`CERT_HAS_EXPIRED`, …), by its name. */
export function chainRefusal(name: string, authority: string, issuer: NamedIssuer): Refusal {
  const error = verifyError(name) ?? unknown;
  switch (error.kind) {
    case 'expired':
      return expired(`or one above it expired`);
    case 'not_yet_valid':
      return { code: 'ERR_CLIENT_CERT_NOT_YET_VALID', what: error.what, hint: error.remedy };
    case 'revoked':
      return {
        code: 'ERR_CLIENT_CERT_REVOKED',
        what: `or one above it is on a CRL of authority "${authority}"`,
        hint: 'issue a new one to let the client in again',
      };
    case 'crl_stale':
      return staleCrl(authority);
    case 'purpose':
      return {
        code: 'ERR_CLIENT_CERT_PURPOSE',
        what: 'or one above it is not for clients',
        hint: 'issue one with the extendedKeyUsage clientAuth; that of intermediate CAs has to include it too',
      };
    case 'issuer':
      return { code: 'ERR_CLIENT_CERT_UNTRUSTED', ...untrusted(name, authority, issuer) };
    case 'crl':
      return {
        code: 'ERR_CLIENT_CERT_UNTRUSTED',
        ...withoutList(name, error, authority, issuer),
        side: 'proxy',
      };
    case 'form':
    case 'ours':
      return {
        code: 'ERR_CLIENT_CERT_UNTRUSTED',
        what: `does not verify against authority "${authority}": it ${error.what} (${name}; issued by ${issuer.name})`,
        hint: error.remedy,
        alert: 'bad_certificate',
      };
  }
}

const unknown: VerifyError = {
  kind: 'form',
  words: '',
  what: 'fails an OpenSSL check that penstock does not know',
  remedy: '`openssl verify` says more',
};

/** The refusal for the state of the chain of a resumed session; none if it is valid. */
export function stateRefusal(state: ChainState, authority: string): Refusal | undefined {
  switch (state) {
    case 'valid':
      return undefined;
    case 'expired':
      return expired('resumes a session, but a CA certificate above it has expired since');
    case 'crl_expired':
      return staleCrl(authority);
    case 'unknown':
      return {
        code: 'ERR_CLIENT_CERT_UNTRUSTED',
        what: 'resumes a session, but the CA certificates above it are not known here any more',
        hint: `add the intermediate CAs that clients send to authorities.${authority}.ca`,
      };
  }
}

function expired(what: string): Refusal {
  return {
    code: 'ERR_CLIENT_CERT_EXPIRED',
    what,
    hint: 'renew the certificates of the CAs above it: intermediates at the client, the others in the authority',
  };
}

function staleCrl(authority: string): Refusal {
  return {
    code: 'ERR_CRL_EXPIRED',
    what: `cannot be checked: a CRL of authority "${authority}" is past its nextUpdate, or not valid yet`,
    hint: `put a fresh one in authorities.${authority}.crl`,
    side: 'proxy',
  };
}

function withoutList(
  name: string,
  { what, remedy }: VerifyError,
  authority: string,
  issuer: NamedIssuer,
): Pick<Refusal, 'what' | 'hint'> {
  if (name !== 'UNABLE_TO_GET_CRL')
    return { what: `${what} (${name}; authority "${authority}")`, hint: remedy };
  return {
    what: `cannot be checked: authority "${authority}" has no usable CRL for ${issuer.name} or for a CA above that`,
    hint: `authorities.${authority}.crl needs one of every CA in the chain`,
  };
}

function untrusted(
  verifyError: string,
  authority: string,
  { name, isKnown }: NamedIssuer,
): Pick<Refusal, 'what' | 'hint'> {
  if (verifyError === 'DEPTH_ZERO_SELF_SIGNED_CERT') {
    return {
      what: `is self-signed, and not in authority "${authority}"`,
      hint: 'issue one from that authority, or use client_auth.pins for self-signed certificates',
    };
  }
  return {
    what: isKnown
      ? `does not verify against ${name} of authority "${authority}" (${verifyError})`
      : `was issued by ${name}, which does not lead to authority "${authority}" (${verifyError})`,
    hint: isKnown
      ? 'another CA may use the same name: compare their keys'
      : `add its root to authorities.${authority}.ca; an intermediate CA has to be sent by the client or be there too`,
  };
}

/** What a user's own modules need of this package: the types of a check for `client_auth.authorize`. */
export type {
  Authorize,
  AuthorizeAnswer,
  ClientCertificate,
  ClientIdentity,
} from './tls/client-auth/client-identity.ts';

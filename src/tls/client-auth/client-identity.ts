/** What a check of the user's own is given, and how it answers. These types are part of the package's interface. */

/** A client that passed the built-in checks. Plain data: a copy, safe to keep or to change. */
export type ClientIdentity = {
  /** Names of the configuration; a route without a name is its index. */
  readonly listener: string;
  readonly route: string | number;
  /** From the ClientHello, in lower case; absent if the client sent none. */
  readonly sni?: string | undefined;
  /** The application protocol that was negotiated. */
  readonly alpn?: string | undefined;
  readonly ja4?: string | undefined;
  /** After a PROXY header, the address that it names. On a unix socket `address` is `unix` and `port` 0. */
  readonly client: { readonly address: string; readonly port: number };
  /** Absent if the client presented none, which `client_auth.mode: request` allows. */
  readonly certificate?: ClientCertificate | undefined;
};

/** A client's certificate. Its names are there only if an authority vouches for them; those in `pem` are claims. */
export type ClientCertificate = {
  /** SHA-256 of the certificate: hex, lower case. */
  readonly fingerprint: string;
  /** `sha256:` and the base64 of the SHA-256 of its SubjectPublicKeyInfo, as in `pins`. */
  readonly spki: string;
  readonly verifiedBy: 'authority' | 'pin';
  /** In the form of RFC 4514, escaped and bounded: for people. Decide by the names below. */
  readonly subject?: string | undefined;
  /** In the order of the certificate; of several CNs the last is the most specific. */
  readonly cn?: readonly string[] | undefined;
  readonly ou?: readonly string[] | undefined;
  /** Subject alternative names. */
  readonly uris?: readonly string[] | undefined;
  readonly dns?: readonly string[] | undefined;
  readonly emails?: readonly string[] | undefined;
  readonly pem: string;
};

/** Only `true` lets the client in; the reason of `deny` goes to the log. */
export type AuthorizeAnswer = boolean | { readonly deny: string };

/** The default export of a module that `client_auth.authorize` names. */
export type Authorize = (client: ClientIdentity) => AuthorizeAnswer | Promise<AuthorizeAnswer>;

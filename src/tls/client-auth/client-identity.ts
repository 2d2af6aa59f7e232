/** What a user's own check gets, and how it answers. These types are part of the package's interface. */

/** A client that passed the built-in checks. Plain data: a copy that is safe to keep or change. */
export type ClientIdentity = {
  /** Names from the configuration; a route without a name has its index. */
  readonly listener: string;
  readonly route: string | number;
  /** From the ClientHello, in lower case; absent if the client sent none. */
  readonly sni?: string | undefined;
  /** The negotiated application protocol. */
  readonly alpn?: string | undefined;
  readonly ja4?: string | undefined;
  /** After a PROXY header, the address in it. On a unix socket, `address` is `unix` and `port` is 0. */
  readonly client: { readonly address: string; readonly port: number };
  /** Absent if the client presented none, which `client_auth.mode: request` allows. */
  readonly certificate?: ClientCertificate | undefined;
};

/**
 * A client's certificate. It has names only if an authority vouches for them; those in `pem` are mere claims.
 */
export type ClientCertificate = {
  /** SHA-256 of the certificate, in lower-case hex. */
  readonly fingerprint: string;
  /** `sha256:` and the base64 SHA-256 of its SubjectPublicKeyInfo, as in `pins`. */
  readonly spki: string;
  readonly verifiedBy: 'authority' | 'pin';
  /** In RFC 4514 form, escaped and limited in length: for people to read. Decide by the names below. */
  readonly subject?: string | undefined;
  /** In the certificate's order; the last of several CNs is the most specific. */
  readonly cn?: readonly string[] | undefined;
  readonly ou?: readonly string[] | undefined;
  /** Subject alternative names. */
  readonly uris?: readonly string[] | undefined;
  readonly dns?: readonly string[] | undefined;
  readonly emails?: readonly string[] | undefined;
  readonly pem: string;
};

/** Only `true` lets the client in. The reason in `deny` goes to the log. */
export type AuthorizeAnswer = boolean | { readonly deny: string };

/** The default export of the module named by `client_auth.authorize`. */
export type Authorize = (client: ClientIdentity) => AuthorizeAnswer | Promise<AuthorizeAnswer>;

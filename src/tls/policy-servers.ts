/** The servers that a policy hands its clients to. */
import { constants } from 'node:crypto';
import { createServer, type Server, type TlsOptions } from 'node:tls';
import type { LoadedAuthority, LoadedCertificate } from '../config/load.ts';
import type { TerminateConfig } from '../config/schema.ts';
import { defaultCiphers } from './ciphers.ts';
import type { TicketMasterSource } from './ticket-masters.ts';
import { createServersByTicket, policyDigest } from './tickets.ts';

export type PolicyParts = {
  readonly config: TerminateConfig;
  readonly authority: LoadedAuthority | undefined;
  readonly masters: TicketMasterSource;
};

/** What of a ClientHello decides which server it is for; numbers as on the wire. */
export type Offer = {
  /** The names of the keys that the tickets it brings were made with. */
  readonly ticketNames: readonly string[];
  readonly versions: readonly number[];
  readonly ciphers: readonly number[];
  readonly groups: readonly number[];
  readonly signatureAlgorithms: readonly number[];
};

/** For one certificate of a policy: the server for a client. Servers are made when they are first needed. */
export function createPolicyServers(
  parts: PolicyParts,
  certificate: LoadedCertificate,
): (offer: Offer) => Server {
  const { config, authority, masters } = parts;
  const digest = policyDigest([
    config,
    certificate.pairs.map(({ cert }) => cert),
    authority?.ca ?? [],
    authority?.crl ?? [],
  ]);
  const pick = createServersByTicket(masters, digest, (ticketKeys) =>
    createPolicyServer(parts, certificate, {
      // Without keys and a context of its own, a session of one policy would resume under another.
      ticketKeys,
      sessionIdContext: digest.toString('hex').slice(0, 32),
    }),
  );
  return ({ ticketNames }) => pick(ticketNames);
}

/** A tls.Server that never listens: it is handed sockets one by one, and enforces what a bare TLSSocket would not. */
function createPolicyServer(
  { config, authority }: PolicyParts,
  certificate: LoadedCertificate,
  resumption: Pick<TlsOptions, 'ticketKeys' | 'sessionIdContext'>,
): Server {
  const auth = config.client_auth;
  const server = createServer({
    ...resumption,
    cert: certificate.pairs.map(({ cert }) => cert),
    key: certificate.pairs.map(({ key, passphrase }) => ({ pem: key, passphrase })),
    minVersion: config.min_version,
    maxVersion: config.max_version,
    ciphers: config.ciphers?.join(':') ?? defaultCiphers,
    honorCipherOrder: true,
    ecdhCurve: config.groups?.join(':'),
    ALPNProtocols: config.alpn,
    // Renegotiation is on by default and Node's limit does not stop it.
    secureOptions:
      constants.SSL_OP_NO_RENEGOTIATION | (config.session_tickets ? 0 : constants.SSL_OP_NO_TICKET),
    requestCert: auth !== undefined && auth.mode !== 'none',
    rejectUnauthorized: auth?.mode === 'require',
    // Without a list Node would trust the public roots, for clients too.
    ca: authority ? [...authority.ca] : [],
    crl: authority && authority.crl.length > 0 ? [...authority.crl] : undefined,
  });
  // Makes Node tell of the TLS socket while the handshake runs; see `letUsDecide` in terminate.ts.
  if (auth?.mode === 'require') server.on('keylog', () => {});
  return server;
}

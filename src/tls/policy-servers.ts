/** The servers that a policy hands its clients to. */
import { constants } from 'node:crypto';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import { cipherOptions, defaultGroups } from '../ciphers.ts';
import type { LoadedAuthority, LoadedCertificate, LoadedPair, Staple } from '../config/load.ts';
import type { TerminateConfig } from '../config/schema.ts';
import type { KeyLog } from './key-log.ts';
import { createPairChooser, type KeyOffer } from './pair-choice.ts';
import type { TicketMasterSource } from './ticket-masters.ts';
import { createServersByTicket, policyDigest } from './tickets.ts';

export type PolicyParts = {
  readonly config: TerminateConfig;
  readonly authority: LoadedAuthority | undefined;
  readonly masters: TicketMasterSource;
  readonly keyLog?: KeyLog | undefined;
};

/** What of a ClientHello decides which server it is for. */
export type Offer = KeyOffer & {
  /** The names of the keys that the tickets it brings were made with. */
  readonly ticketNames: readonly string[];
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
  const present = (pairs: readonly LoadedPair[]) =>
    createServersByTicket(masters, digest, (ticketKeys) =>
      createPolicyServer(parts, pairs, {
        // Without keys and a context of its own, a session of one policy would resume under another.
        ticketKeys,
        sessionIdContext: digest.toString('hex').slice(0, 32),
      }),
    );
  const all = present(certificate.pairs);
  if (certificate.pairs.length === 1 || !certificate.pairs.some(({ staple }) => staple)) {
    return ({ ticketNames }) => all(ticketNames);
  }
  // Of several pairs Node does not tell which one a staple is wanted for.
  const choose = createPairChooser(certificate.pairs, config);
  const alone = new Map(certificate.pairs.map((pair) => [pair, present([pair])]));
  return (offer) => {
    const pair = choose(offer);
    return ((pair && alone.get(pair)) ?? all)(offer.ticketNames);
  };
}

/** A tls.Server that never listens: it is handed sockets one by one, and enforces what a bare TLSSocket would not. */
function createPolicyServer(
  { config, authority, keyLog }: PolicyParts,
  pairs: readonly LoadedPair[],
  resumption: Pick<TlsOptions, 'ticketKeys' | 'sessionIdContext'>,
): Server {
  const auth = config.client_auth;
  const server = createServer({
    ...resumption,
    cert: pairs.map(({ cert }) => cert),
    key: pairs.map(({ key, passphrase }) => ({ pem: key, passphrase })),
    minVersion: config.min_version,
    maxVersion: config.max_version,
    ...cipherOptions(config.ciphers),
    honorCipherOrder: true,
    // The deadline is the connection's own (`timeouts.handshake`); Node's would be two minutes, and cannot be off.
    handshakeTimeout: maxTimeout,
    ecdhCurve: config.groups?.join(':') ?? defaultGroups,
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
  // Node tells of the TLS socket while the handshake runs by this event only.
  if (auth?.mode === 'require') server.on('keylog', (_, stream) => letUsDecide(stream));
  // Without a listener Node does not emit it; terminate.ts hears it for what a refused client is told.
  else if (auth?.mode === 'request') server.on('keylog', () => {});
  if (keyLog) server.on('keylog', keyLog);
  const [pair, another] = pairs;
  if (pair?.staple && another === undefined) stapleTo(server, pair.staple);
  return server;
}

/** The longest that Node's timers know, in ms: 24 days. */
const maxTimeout = 2 ** 31 - 1;

/**
 * With `rejectUnauthorized` OpenSSL itself answers a client without a certificate (alert certificate_required), but Node
 * destroys a client with a bad one before anyone can read which it was. OpenSSL has been told by now; this takes Node's
 * own part back. Should a later Node not look here any more, it goes on destroying: safe, only less told.
 */
function letUsDecide(stream: TLSSocket): void {
  (stream as unknown as { _rejectUnauthorized: boolean })._rejectUnauthorized = false;
}

/** The event costs each handshake 4%, so only servers with a staple have a listener. */
function stapleTo(server: Server, { response, thisUpdate, nextUpdate }: Staple): void {
  server.on('OCSPRequest', (_certificate, _issuer, answer) => {
    const now = Date.now();
    answer(null, now >= thisUpdate && now < nextUpdate ? Buffer.from(response) : null);
  });
}

/** The servers that a policy hands its clients to. */
import { executionAsyncResource } from 'node:async_hooks';
import { constants } from 'node:crypto';
import { createServer, type Server, type TLSSocket, type TlsOptions } from 'node:tls';
import { LRUCache } from 'lru-cache';
import type { LoadedAuthority, LoadedCertificate, LoadedPair, Staple } from '../../config/load.ts';
import type { TerminateConfig } from '../../config/schema/schema.ts';
import { cipherOptions, defaultGroups, groupsForClientKeys } from '../../openssl/ciphers.ts';
import type { KeyLog } from '../key-log.ts';
import { trustingByDefault } from '../unnamed-authority.ts';
import { createPairChooser, createVersionForesight, type KeyOffer } from './pair-choice.ts';
import { answerTickets } from './ticket-answers.ts';
import type { TicketMasterSource } from './ticket-masters.ts';
import { createServersByTicket, policyDigest, type SessionJudge, type TicketServer } from './tickets.ts';

export type PolicyParts = {
  readonly config: TerminateConfig;
  readonly authority: LoadedAuthority | undefined;
  readonly masters: TicketMasterSource;
  readonly keyLog?: KeyLog | undefined;
};

/** What of a ClientHello decides which server it is for. */
export type Offer = KeyOffer & {
  readonly sni: string | undefined;
  /** The session tickets that it brings. */
  readonly tickets: readonly Buffer[];
};

/**
 * For one certificate of a policy: the server for a client. Servers are made when they are first needed. With a judge, a
 * client whose session may not be resumed gets one that makes a full handshake.
 */
export function createPolicyServers(
  parts: PolicyParts,
  certificate: LoadedCertificate,
  mayResume: SessionJudge | undefined,
): (offer: Offer) => Server {
  const { config, authority } = parts;
  const { ca = [], crl = [] } = authority ?? {};
  const policy = policyDigest([config, certificate.pairs.map(({ cert }) => cert), ca, crl]);
  const authorityBytes = [...ca, ...crl].reduce((sum, { length }) => sum + length, 0);
  const mostNames = Math.max(4, Math.min(64, Math.floor(2 ** 21 / (authorityBytes + 1))));
  const present = (pairs: readonly LoadedPair[]) => {
    const serve = (tickets: Tickets, name?: string) => {
      const digest = name === undefined ? policy : policyDigest([policy.toString('hex'), name]);
      // Without keys and a context of its own, a session of one policy would resume under another.
      const sessionIdContext = digest.toString('hex').slice(0, 32);
      return createServersByTicket(parts.masters, digest, mayResume, (ticketKeys) =>
        createPolicyServer(parts, pairs, { ticketKeys, sessionIdContext, tickets }),
      );
    };
    return byVersion(config, mostNames, serve);
  };
  const all = present(certificate.pairs);
  if (certificate.pairs.length === 1 || !certificate.pairs.some(({ staple }) => staple)) return all;
  // Where there are several pairs, Node does not say which one a staple is wanted for.
  const choose = createPairChooser(certificate.pairs, config);
  const alone = new Map(certificate.pairs.map((pair) => [pair, present([pair])]));
  return (offer) => {
    const pair = choose(offer);
    return ((pair && alone.get(pair)) ?? all)(offer);
  };
}

/** Of TLS 1.3 see ticket-answers.ts; before that Node's options say it all. */
type Tickets = 'tls13' | 'older' | 'none';

/** OpenSSL lets a session live for two hours. */
const sessionLife = 2 * 60 * 60 * 1000;

/**
 * TLS 1.2 ties a session to the server name (RFC 6066 §3), TLS 1.3 does not (RFC 8446 §4.2.11), and Node offers no way to
 * put the name into the ticket. So there each name has keys of its own. Whoever sends a hello may name what it likes, and a
 * server takes 52 KB and its authority, so they are bounded: any more names in use make full handshakes.
 */
function byVersion(
  config: TerminateConfig,
  mostNames: number,
  serve: (tickets: Tickets, name?: string) => (tickets: readonly Buffer[]) => Server,
): (offer: Offer) => Server {
  const settlesOnTls13 = createVersionForesight(config);
  const tls13 = serve('tls13');
  const without = serve('none');
  const older = new LRUCache<string, typeof tls13>({
    max: mostNames,
    ttl: sessionLife,
    updateAgeOnGet: true,
  });
  return (offer) => {
    if (settlesOnTls13(offer)) return tls13(offer.tickets);
    if (!config.session_tickets) return without([]);
    const name = offer.sni ?? '';
    const known = older.get(name);
    if (known) return known(offer.tickets);
    if (older.size === mostNames) older.purgeStale();
    if (older.size === mostNames) return without([]);
    const made = serve('older', name);
    older.set(name, made);
    return made(offer.tickets);
  };
}

/** A tls.Server that never listens: it is handed sockets one by one, and enforces what a bare TLSSocket would not. */
function createPolicyServer(
  { config, authority, keyLog }: PolicyParts,
  pairs: readonly LoadedPair[],
  {
    tickets,
    ...resumption
  }: { readonly tickets: Tickets; readonly ticketKeys: Buffer; readonly sessionIdContext: string },
): TicketServer {
  const auth = config.client_auth;
  const namesCas = auth?.send_ca_names !== false;
  const options: TlsOptions = {
    ...resumption,
    cert: pairs.map(({ cert }) => cert),
    key: pairs.map(({ key, passphrase }) => ({ pem: key, passphrase })),
    minVersion: config.min_version,
    maxVersion: config.max_version,
    ...cipherOptions(config.ciphers),
    honorCipherOrder: true,
    // The deadline is the connection's own (`timeouts.handshake`); Node's would be two minutes, and cannot be off.
    handshakeTimeout: maxTimeout,
    ecdhCurve: config.groups?.join(':') ?? (asksForKeys(config) ? groupsForClientKeys : defaultGroups),
    ALPNProtocols: config.alpn,
    // Renegotiation is on by default and Node's limit does not stop it.
    secureOptions:
      // Under TLS 1.3 the other option would only send another kind of tickets.
      constants.SSL_OP_NO_RENEGOTIATION | (tickets === 'none' ? constants.SSL_OP_NO_TICKET : 0),
    requestCert: auth !== undefined && auth.mode !== 'none',
    rejectUnauthorized: auth?.mode === 'require',
    // Without a list Node would trust the public roots, for clients too.
    ca: namesCas ? [...(authority?.ca ?? [])] : undefined,
    crl: authority && authority.crl.length > 0 ? [...authority.crl] : undefined,
  };
  const server = namesCas
    ? createServer(options)
    : trustingByDefault(authority?.ca ?? [], () => createServer(options));
  // Only this event gives us the TLS socket while the handshake runs.
  if (auth?.mode === 'require') server.on('keylog', (_, stream) => letUsDecide(stream));
  // Without a listener Node does not emit it; terminate.ts listens to it for the alert that a refused client gets.
  else if (auth?.mode === 'request') server.on('keylog', () => {});
  if (keyLog) server.on('keylog', keyLog);
  const [pair, another] = pairs;
  if (pair?.staple && another === undefined) stapleTo(server, pair.staple);
  const renewWith =
    tickets === 'tls13'
      ? answerTickets(server, config.session_tickets ? 'renew' : 'none', resumption.ticketKeys)
      : undefined;
  return {
    server,
    setKeys(keys) {
      server.setTicketKeys(keys);
      renewWith?.(keys);
    },
  };
}

function asksForKeys({ client_auth, min_version }: TerminateConfig): boolean {
  return client_auth !== undefined && client_auth.mode !== 'none' && min_version !== 'TLSv1.3';
}

/** The longest that Node's timers know, in ms: 24 days. */
const maxTimeout = 2 ** 31 - 1;

/**
 * With `rejectUnauthorized` OpenSSL itself answers a client without a certificate (alert certificate_required), but Node
 * destroys a client with a bad one before anyone can read which it was. OpenSSL has the setting by now; this takes Node's
 * own part back. Should a later Node not look here any more, it keeps destroying: safe, only less informative.
 */
function letUsDecide(stream: TLSSocket): void {
  (stream as unknown as { _rejectUnauthorized: boolean })._rejectUnauthorized = false;
}

/** The event costs each handshake 4%, so only servers with a staple have a listener. */
function stapleTo(server: Server, { response, thisUpdate, nextUpdate }: Staple): void {
  const staple = Buffer.from(response);
  server.on('OCSPRequest', (_certificate, _issuer, answer) => {
    const now = Date.now();
    const isGood = now >= thisUpdate && now < nextUpdate;
    if (isGood) answerAgain(executionAsyncResource(), staple);
    answer(null, isGood ? staple : null);
  });
}

/**
 * Node asks once a connection, and where a HelloRetryRequest follows, the first hello has used the answer up by the time
 * the second one comes. Here it is laid down again. The event does not say whose it is, but it is called for the handle of
 * a TLS socket; should a later Node do otherwise, there is no staple after a HelloRetryRequest.
 */
function answerAgain(handle: { setOCSPResponse?: (response: Buffer) => void }, staple: Buffer): void {
  if (typeof handle.setOCSPResponse === 'function') setImmediate(() => handle.setOCSPResponse?.(staple));
}

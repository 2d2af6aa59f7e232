/** The servers to which a policy hands its clients. */
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
  /** A digest of the contents of the config's `authorize`. */
  readonly module?: string | undefined;
};

/** The part of a ClientHello that decides which server gets it. */
export type Offer = KeyOffer & {
  readonly sni: string | undefined;
  /** The session tickets it brings. */
  readonly tickets: readonly Buffer[];
};

/**
 * Chooses the server for a client, for one certificate of a policy. Servers are created on first use. With a
 * judge, a client whose session may not be resumed gets a server that makes a full handshake.
 */
export function createPolicyServers(
  parts: PolicyParts,
  certificate: LoadedCertificate,
  mayResume: SessionJudge | undefined,
): (offer: Offer) => Server {
  const { config, authority, module } = parts;
  const { ca = [], crl = [] } = authority ?? {};
  const policy = policyDigest([
    withoutPath(config),
    module,
    certificate.pairs.map(({ cert }) => cert),
    ca,
    crl,
  ]);
  const authorityBytes = [...ca, ...crl].reduce((sum, { length }) => sum + length, 0);
  const mostNames = Math.max(4, Math.min(64, Math.floor(2 ** 21 / (authorityBytes + 1))));
  const present = (pairs: readonly LoadedPair[]) => {
    const serve = (tickets: Tickets, name?: string) => {
      const digest = name === undefined ? policy : policyDigest([policy.toString('hex'), name]);
      // Without keys and a context of its own, a policy would resume sessions that began under another.
      const sessionIdContext = digest.toString('hex').slice(0, 32);
      return createServersByTicket(parts.masters, digest, mayResume, (ticketKeys) =>
        createPolicyServer(parts, pairs, { ticketKeys, sessionIdContext, tickets }),
      );
    };
    return byVersion(config, mostNames, serve);
  };
  const all = present(certificate.pairs);
  if (certificate.pairs.length === 1 || !certificate.pairs.some(({ staple }) => staple)) return all;
  // With several pairs in one server, Node does not say for which of them it asks for a staple.
  const choose = createPairChooser(certificate.pairs, config);
  const alone = new Map(certificate.pairs.map((pair) => [pair, present([pair])]));
  return (offer) => {
    const pair = choose(offer);
    return ((pair && alone.get(pair)) ?? all)(offer);
  };
}

/**
 * Machines of a cluster have the same module, but perhaps at another place: its contents count, and its place
 * would keep them from resuming each other's sessions.
 */
function withoutPath({ client_auth, ...config }: TerminateConfig): object {
  if (client_auth === undefined) return config;
  const { authorize: _, ...auth } = client_auth;
  return { ...config, client_auth: auth };
}

/** ticket-answers.ts handles TLS 1.3; before that, Node's options suffice. */
type Tickets = 'tls13' | 'older' | 'none';

/** OpenSSL's sessions live for two hours. */
const sessionLife = 2 * 60 * 60 * 1000;

/**
 * TLS 1.2 ties a session to the server name (RFC 6066 §3), TLS 1.3 does not (RFC 8446 §4.2.11), and Node
 * offers no way to put the name into the ticket. So under TLS 1.2 each name has keys of its own, and thus a
 * server of its own. A client may claim any name, and a server takes 52 KB plus its authority, so their
 * number is limited: any further names make full handshakes.
 */
function byVersion(
  config: TerminateConfig,
  mostNames: number,
  serve: (tickets: Tickets, name?: string) => (tickets: readonly Buffer[]) => Server,
): (offer: Offer) => Server {
  const settlesOnTls13 = createVersionForesight(config);
  const tls13 = serve('tls13');
  const without = serve('none');
  const makeOlder = () =>
    new LRUCache<string, typeof tls13>({ max: mostNames, ttl: sessionLife, updateAgeOnGet: true });
  // Made for the first such client: there may be thousands of policies.
  let older: ReturnType<typeof makeOlder> | undefined;
  return (offer) => {
    if (settlesOnTls13(offer)) return tls13(offer.tickets);
    if (!config.session_tickets) return without([]);
    const name = offer.sni ?? '';
    older ??= makeOlder();
    const known = older.get(name);
    if (known) return known(offer.tickets);
    if (older.size === mostNames) older.purgeStale();
    if (older.size === mostNames) return without([]);
    const made = serve('older', name);
    older.set(name, made);
    return made(offer.tickets);
  };
}

/**
 * A tls.Server that never listens: it is handed sockets one by one, and enforces
 * what a bare TLSSocket would not.
 */
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
    // The connection has a deadline of its own (`timeouts.handshake`). Node's is two minutes
    // by default, and cannot be off.
    handshakeTimeout: maxTimeout,
    ecdhCurve: config.groups?.join(':') ?? (asksForKeys(config) ? groupsForClientKeys : defaultGroups),
    ALPNProtocols: config.alpn,
    // Renegotiation is on by default, and Node's limit does not stop it.
    secureOptions:
      // Under TLS 1.3, SSL_OP_NO_TICKET would only send another kind of ticket.
      constants.SSL_OP_NO_RENEGOTIATION | (tickets === 'none' ? constants.SSL_OP_NO_TICKET : 0),
    requestCert: auth !== undefined && auth.mode !== 'none',
    rejectUnauthorized: auth?.mode === 'require',
    // Without a list, Node would trust the public roots to sign client certificates too.
    ca: namesCas ? [...(authority?.ca ?? [])] : undefined,
    crl: authority && authority.crl.length > 0 ? [...authority.crl] : undefined,
  };
  const server = namesCas
    ? createServer(options)
    : trustingByDefault(authority?.ca ?? [], () => createServer(options));
  // Only this event gives us the TLS socket while the handshake is running.
  if (auth?.mode === 'require') server.on('keylog', (_, stream) => letUsDecide(stream));
  // Node emits the event only if there is a listener; terminate.ts needs it for
  // the alert to a refused client.
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

/** The longest delay that Node's timers support, in ms: 24 days. */
const maxTimeout = 2 ** 31 - 1;

/**
 * With `rejectUnauthorized`, OpenSSL itself answers a client that has no certificate (alert
 * certificate_required), but Node destroys a client with a bad one before anybody can find out which
 * certificate it was. By now OpenSSL has the setting, so this takes back Node's part only. If a later Node
 * stops looking at this property, it keeps destroying: safe, just less informative.
 */
function letUsDecide(stream: TLSSocket): void {
  (stream as unknown as { _rejectUnauthorized: boolean })._rejectUnauthorized = false;
}

/** The event costs 4% of each handshake, so only servers with a staple listen to it. */
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
 * Node asks once per connection. If a HelloRetryRequest follows, the first hello has used up the answer by
 * the time the second one arrives, so we give it again. The event does not say which connection it is for,
 * but Node calls it in the context of that connection's TLS handle. If a later Node does otherwise, there is
 * no staple after a HelloRetryRequest.
 */
function answerAgain(handle: { setOCSPResponse?: (response: Buffer) => void }, staple: Buffer): void {
  if (typeof handle.setOCSPResponse === 'function') setImmediate(() => handle.setOCSPResponse?.(staple));
}

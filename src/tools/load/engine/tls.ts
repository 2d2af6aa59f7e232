/** What TLS connections use: one secure context, names in turn, and reused sessions. */
import { type ConnectionOptions, createSecureContext, type TLSSocket } from 'node:tls';
import type { TlsPlan } from './plan.ts';
import { count, type Tally } from './tally.ts';

export type TlsClient = {
  /** The options of the next connection, except its socket. */
  readonly next: () => ConnectionOptions;
  /** Counts what was negotiated. */
  readonly onSecure: (stream: TLSSocket, options: ConnectionOptions, tally: Tally) => void;
  /** Keeps the sessions that this connection receives, for later ones to the same name. */
  readonly keepSessions: (stream: TLSSocket, options: ConnectionOptions) => void;
  /** The number of names without a session yet. */
  readonly sessions: () => number;
  readonly certificate: () => string | undefined;
};

/** Throws what `createSecureContext` throws: a faulty certificate or cipher list. */
export function createTlsClient(plan: TlsPlan): TlsClient {
  const names = plan.names.length > 0 ? plan.names : [undefined];
  const shared = sharedOptions(plan);
  const sessions = new Map<string | undefined, Buffer>();
  let turn = plan.firstName;
  let certificate: string | undefined;
  return {
    sessions: () => sessions.size,
    certificate: () => certificate,
    next() {
      const servername = names[turn++ % names.length];
      return { ...shared, servername, session: sessions.get(servername) };
    },
    keepSessions(stream, { servername }) {
      stream.on('session', (session) => {
        if (!stream.isSessionReused()) sessions.set(servername, session);
      });
    },
    onSecure(stream, { session }, tally) {
      const resumed = stream.isSessionReused();
      if (session) tally.offered++;
      if (resumed) tally.resumed++;
      count(tally.versions, stream.getProtocol() ?? 'unknown');
      count(tally.ciphers, stream.getCipher().name);
      count(tally.groups, groupOf(stream));
      // Reading it costs a tenth of a handshake, and after a resumption there is none.
      if (certificate === undefined && !resumed) certificate = keyTypeOf(stream);
    },
  };
}

function sharedOptions(plan: TlsPlan): ConnectionOptions {
  const verify = plan.ca !== undefined;
  const secureContext = createSecureContext({
    cert: plan.cert,
    key: plan.key,
    // Without a list, Node would load the public roots.
    ca: plan.ca === 'system' ? undefined : plan.ca === undefined ? [] : plan.ca,
    minVersion: plan.minVersion,
    maxVersion: plan.maxVersion,
    ciphers: plan.ciphers,
    ecdhCurve: plan.groups,
    sigalgs: plan.sigalgs,
  });
  return {
    secureContext,
    host: plan.host,
    rejectUnauthorized: verify,
    ...(verify ? {} : { checkServerIdentity: () => undefined }),
    ...(plan.alpn.length > 0 ? { ALPNProtocols: [...plan.alpn] } : {}),
  };
}

/** Empty for a resumption without a new key exchange, `RSA` for a handshake without one. */
function groupOf(stream: TLSSocket): string {
  const info = stream.getEphemeralKeyInfo() as { name?: string; type?: string } | null;
  return info?.name ?? info?.type ?? 'none';
}

function keyTypeOf(stream: TLSSocket): string | undefined {
  const key = stream.getPeerX509Certificate()?.publicKey;
  const details = key?.asymmetricKeyDetails;
  const size = details?.namedCurve ?? details?.modulusLength ?? '';
  return key && `${key.asymmetricKeyType} ${size}`.trim();
}

/**
 * SQL Server: the client says in PRELOGIN whether it wants TLS. Up to TDS 7.4 the handshake is carried by
 * packets of TDS. From TDS 8 on the client begins with TLS (ALPN `tds/8.0`), and none of this is spoken.
 */
import type { Carrier, Protocol } from '../protocol.ts';
import { ask, ownOptions, prelogin } from './ask.ts';
import { CarriedTls, unwrap, wrap } from './carrier.ts';
import { invalid, meet, tlsHint } from './meeting.ts';
import { encryption } from './prelogin.ts';

const carrier: Carrier = {
  maxVersion: 'TLSv1.2',
  unwrap: (bytes) => unwrap(bytes, invalid),
  wrap,
  over: (raw) => new CarriedTls(raw, (what) => new Error(`the other side ${what}`)),
};

export const mssql: Protocol = {
  title: 'SQL Server',
  alpn: ['tds/8.0'],
  // BYTE Type 4; BYTE Status 1
  saysInstead: /^\cD\cA/,
  firstByte: 0x12,
  notWarm: 'they hang up on clients that do not log in soon',
  asksForClient: true,
  tlsHint,
  told: 'read an answer to PRELOGIN that TLS is required; or nothing if they begin with TLS (TDS 8)',
  carrier,
  meet: (terms) => meet(terms, carrier),
  ask: (server) => ask(server),
  check: {
    passesIf: 'it answers PRELOGIN',
    async run(server, answer) {
      if (answer === undefined) await prelogin(server, ownOptions, encryption.none, 'ERR_UPSTREAM_DOWN');
      return undefined;
    },
  },
};

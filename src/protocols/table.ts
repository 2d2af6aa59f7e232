/** The protocols that penstock speaks before TLS. To add one: a folder, and a line here. */
import { imap } from './imap/index.ts';
import { ldap } from './ldap/index.ts';
import { lmtp } from './lmtp/index.ts';
import { mssql } from './mssql/index.ts';
import { mysql } from './mysql/index.ts';
import { nats } from './nats/index.ts';
import { pop3 } from './pop3/index.ts';
import { postgres } from './postgres/index.ts';
import type { Protocol } from './protocol.ts';
import { sieve } from './sieve/index.ts';
import { smtp } from './smtp/index.ts';
import { xmpp } from './xmpp/index.ts';
import { xmppServer } from './xmpp-server/index.ts';

export const protocols = {
  postgres,
  mysql,
  nats,
  smtp,
  lmtp,
  imap,
  pop3,
  sieve,
  ldap,
  xmpp,
  'xmpp-server': xmppServer,
  mssql,
} satisfies Record<string, Protocol>;

/** As written in configurations and flags. */
export type ProtocolName = keyof typeof protocols;

export const protocolNames = Object.keys(protocols) as [ProtocolName, ...ProtocolName[]];

export function protocolOf(name: ProtocolName | undefined): Protocol | undefined {
  return name && protocols[name];
}

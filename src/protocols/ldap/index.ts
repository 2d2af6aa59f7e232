/** LDAP: the client asks for TLS by an extended operation, StartTLS (RFC 4511 §4.14). */
import type { Protocol } from '../protocol.ts';
import { ask } from './ask.ts';
import { check } from './check.ts';
import { meet, tlsHint } from './meeting.ts';

export const ldap: Protocol = {
  title: 'LDAP',
  alpn: [],
  // SEQUENCE, …: a Notice of Disconnection; most servers only hang up.
  saysInstead: /^0[\s\S]{1,1000}1\.3\.6\.1\.4\.1\.1466\.20036/,
  firstByte: 0x30,
  tlsHint,
  told: 'read an answer to StartTLS, and to any other request that StartTLS is required first; or nothing if they begin with TLS',
  meet,
  ask,
  check,
};

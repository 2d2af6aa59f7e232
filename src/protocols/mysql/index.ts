/**
 * MySQL and MariaDB: the server speaks first, and greets. A client that wants TLS answers with the beginning
 * of its login, and its ClientHello may follow at once; the whole login comes within TLS.
 */
import type { Protocol } from '../protocol.ts';
import { ask, hear } from './ask.ts';
import { check } from './check.ts';
import { meet } from './meeting.ts';
import { createSessions } from './sessions.ts';

export const mysql: Protocol = {
  title: 'MySQL',
  alpn: [],
  // int<3> length, int<1> number 0, int<1> protocol 10, string<NUL> version; or an error.
  saysInstead: /^[\s\S]{2}\0\0(\n[\x20-\x7e]+\0|\xff)/,
  notWarm: 'they count each against its host, and shut that out after `max_connect_errors`',
  asksForClient: true,
  plainHint:
    'accounts with caching_sha2_password cannot log in over plain TCP until the server has cached their password',
  passthroughHint:
    'accounts with mysql_native_password cannot log in through it, since the password is hashed with our greeting',
  told: "read a greeting in the server's place, with the version that the server last dialled for them has, and once they are within TLS they log in to the server itself",
  tlsHint: 'connect with --ssl, or --ssl-mode=REQUIRED; verifying the certificate is best',
  meet,
  createSessions,
  ask,
  hear,
  check,
};

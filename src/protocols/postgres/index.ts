/** PostgreSQL: the client asks for TLS with an SSLRequest, which the server answers with one byte. */
import type { Protocol } from '../protocol.ts';
import { readStartupAnswer, startupMessage, terminate } from './answer.ts';
import { ask } from './ask.ts';
import { watchLogin } from './login.ts';
import { meet } from './meeting.ts';
import { createSessions } from './sessions.ts';

export const postgres: Protocol = {
  title: 'PostgreSQL',
  // Required by direct connections (PostgreSQL 17).
  alpn: ['postgresql'],
  saysInstead: /^(E\0\0|N$|S$)/,
  firstByte: 0,
  told: 'read one byte, `S`, in answer to their SSLRequest, or nothing if they begin with TLS',
  binding: {
    refused: 'clients that log in by SCRAM with channel binding, which is the default of psql,',
    remedy:
      'let PostgreSQL and this route present the same certificate, with the same key; or have clients connect with channel_binding=disable',
    watch: watchLogin,
  },
  tlsHint: 'connect with sslmode=require or stronger; sslmode=verify-full is best',
  meet,
  createSessions,
  ask,
  check: {
    passesIf: 'it answers a startup message, and is neither starting nor stopping',
    async run(server) {
      server.write(startupMessage);
      await server.read(readStartupAnswer);
      return terminate;
    },
  },
};

/** The last words to MySQL clients: an error packet. The log has the rest. */
import type { Code, Phase } from '../../errors.ts';
import type { Refusal } from '../protocol.ts';
import { errorPacket, type SqlError } from './packets.ts';

/** `number` is the one that the client expects of the next packet. */
export function lastWords({ code, phase, conn }: Refusal, number: number): Buffer | undefined {
  const told = byCode[code] ?? byPhase[phase];
  if (told === undefined) return undefined;
  const [error, state, text] = told;
  return errorPacket(number, [error, state, `${text} (connection ${conn})`]);
}

const noRoom: SqlError = [1040, '08004', 'Too many connections to the server behind this proxy'];
/** ER_SECURE_TRANSPORT_REQUIRED */
const tlsOnly: SqlError = [
  3159,
  'HY000',
  'Connections using insecure transport are prohibited here: connect with TLS (--ssl, or --ssl-mode=REQUIRED)',
];

const unreachable: SqlError = [1105, '08S01', 'The server behind this proxy cannot be reached'];
const byPhase: Partial<Record<Phase, SqlError>> = {
  authorize: [1045, '28000', 'Access denied: the client certificate is refused'],
  starttls: [1043, '08S01', 'Bad handshake: this is not how a connection starts here'],
  connect: unreachable,
};
const byCode: Partial<Record<Code, SqlError>> = {
  ERR_UPSTREAM_LIMIT: noRoom,
  ERR_UPSTREAM_QUEUE_FULL: noRoom,
  ERR_UPSTREAM_QUEUE_TIMEOUT: noRoom,
  // During the login, the server's faults are none of the client's.
  ERR_UPSTREAM_CONNECT: unreachable,
  ERR_UPSTREAM_STARTTLS_INVALID: [
    1251,
    '08004',
    'The server behind this proxy asks for something that cannot be carried, such as a second factor',
  ],
  ERR_STARTTLS_REQUIRED: tlsOnly,
  ERR_NO_ROUTE: tlsOnly,
  ERR_CLIENT_CERT_REQUIRED: [
    1045,
    '28000',
    'Access denied: a client certificate is required (--ssl-cert and --ssl-key)',
  ],
};

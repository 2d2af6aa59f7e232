/**
 * Notices a login by SCRAM that PostgreSQL refuses since client and server do not see the same TLS: the
 * client signs the hash of the certificate that it was shown (`tls-server-end-point`, RFC 5929 §4), and the
 * server compares it with its own. Pure. PostgreSQL's documentation, "Frontend/Backend Protocol", "SASL
 * Authentication".
 */
import type { LoginWatch } from '../protocol.ts';

/** What a server says in a login is short: a list of mechanisms, a challenge, an error. */
const longest = 8192;

export function watchLogin(): LoginWatch {
  let held: Buffer = Buffer.alloc(0);
  let seen: Seen = 'nothing';
  return (bytes) => {
    held = held.length === 0 ? Buffer.from(bytes) : Buffer.concat([held, bytes]);
    for (;;) {
      // Byte1 type, Int32 length, itself included
      if (held.length < 5) return 'more';
      const length = held.readUInt32BE(1);
      if (length < 4 || length > longest) return 'over';
      if (held.length <= length) return 'more';
      const next = judge(held[0] ?? 0, held.subarray(5, length + 1), seen);
      if (next === 'over' || next === 'refused') return next;
      seen = next;
      held = held.subarray(length + 1);
    }
  };
}

/**
 * How far the login has come: a mechanism with channel binding was offered, then the client was challenged.
 */
type Seen = 'nothing' | 'offer' | 'challenge';

function judge(type: number, body: Buffer, seen: Seen): Seen | 'over' | 'refused' {
  switch (type) {
    case 0x4e: // 'N', NoticeResponse
    case 0x76: // 'v', NegotiateProtocolVersion
      return seen;
    case 0x52: // 'R', Authentication…
      return judgeRequest(body);
    case 0x45: // 'E', ErrorResponse
      // 28000, invalid_authorization_specification; a wrong password is 28P01.
      return seen === 'challenge' && /\0C28000\0/.test(body.toString('latin1')) ? 'refused' : 'over';
    default:
      return 'over';
  }
}

function judgeRequest(body: Buffer): Seen | 'over' {
  // Int32: 10 is AuthenticationSASL, with the mechanisms; 11 AuthenticationSASLContinue
  const kind = body.length < 4 ? 0 : body.readUInt32BE(0);
  if (kind === 10 && body.toString('latin1', 4).split('\0').includes('SCRAM-SHA-256-PLUS')) return 'offer';
  return kind === 11 ? 'challenge' : 'over';
}

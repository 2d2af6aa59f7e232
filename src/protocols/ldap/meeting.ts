/** LDAP clients: they ask for TLS by an extended operation, or begin with it, as on port 636. */
import { contentTypes } from '../../peek/records.ts';
import { clientFault, gone, onlyFor, plainText, stuffed } from '../faults.ts';
import type { Meeting, Refusal, Terms } from '../protocol.ts';
import { reasonFor } from '../refusals.ts';
import { ask } from './ask.ts';
import {
  encodeResult,
  extendedIn,
  type Message,
  operations,
  readMessage,
  responseTo,
  results,
  startTls,
} from './messages.ts';

/** How many requests a client may make that are not taken before TLS. */
const maxRefused = 10;

export function meet({ takesPlain, takesGlued = false }: Terms): Meeting {
  let hasLeft = false;
  return {
    async accept(client) {
      for (let refused = 0; refused < maxRefused; ) {
        const first = await client.read(readFirst);
        if (first === 'tls') return { kind: 'tls' };
        if (takesPlain && refused === 0 && !asksForTls(first)) return { kind: 'plain' };
        client.drop(first.length);
        if (first.operation.tag === operations.unbind) {
          hasLeft = true;
          throw refused > 0 ? plainText('LDAP', tlsHint) : gone();
        }
        const { kind, words } = answerTo(first);
        if (kind === 'upgrade' && client.length > 0 && !takesGlued) throw stuffed('CVE-2011-0411');
        if (words) client.write(words);
        if (kind === 'upgrade') return { kind: 'tls' };
        refused += 1;
      }
      throw plainText('LDAP', tlsHint);
    },
    announce: ask,
    refuse: (why) => (hasLeft ? undefined : lastWords(why)),
  };
}

/** A message, or the first byte of a ClientHello, which no message begins with. */
export function readFirst(bytes: Buffer): Message | 'tls' | undefined {
  return bytes[0] === contentTypes.handshake ? 'tls' : readMessage(bytes, invalid);
}

function asksForTls({ operation }: Message): boolean {
  return operation.tag === operations.extendedRequest && extendedIn(operation)?.name === startTls;
}

/** What to answer to a request. */
export function answerTo(message: Message): { kind: 'upgrade' | 'refused'; words: Buffer | undefined } {
  const { id, operation, controls } = message;
  const tag = responseTo[operation.tag];
  if (id.every((byte) => byte === 0)) throw invalid('sends a request without a number');
  if (tag === undefined && operation.tag !== operations.abandon) throw invalid('sends no request of LDAP');
  const refused = (code: number, text: string) =>
    ({ kind: 'refused', words: (tag && encodeResult(id, tag, code, text)) || undefined }) as const;
  if (!asksForTls(message)) return refused(results.confidentialityRequired, 'StartTLS is required first');
  if (controls.some(({ isCritical }) => isCritical)) {
    return refused(results.unavailableCriticalExtension, 'a critical control is not known here');
  }
  if (extendedIn(operation)?.hasValue) return refused(results.protocolError, 'StartTLS has no value');
  return { kind: 'upgrade', words: encodeResult(id, operations.extendedResponse, results.success, '') };
}

/** A Notice of Disconnection, RFC 4511 §4.4.1. */
function lastWords(why: Refusal): Buffer | undefined {
  switch (reasonFor(why)) {
    case 'needs_tls':
      return notice(results.confidentialityRequired, 'TLS is required here');
    case 'misspoken':
      return notice(results.protocolError, 'this is no way to begin a session');
    case 'full':
      return notice(results.busy, 'too many connections to the server behind this proxy');
    case 'unreachable':
      return notice(
        results.unavailable,
        `the server behind this proxy cannot be reached (connection ${why.conn})`,
      );
  }
  return undefined;
}

function notice(code: number, text: string): Buffer {
  return encodeResult(Buffer.of(0), operations.extendedResponse, code, text, noticeOfDisconnection);
}

const noticeOfDisconnection = '1.3.6.1.4.1.1466.20036';

const invalid = clientFault(onlyFor('ldap'));

export const tlsHint = 'have the client use StartTLS (ldapsearch -ZZ), or ldaps://';

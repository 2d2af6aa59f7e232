/** PostgreSQL clients: what they ask for before TLS, and what they may send instead of opening a session. */
import { ProxyError } from '../../errors.ts';
import type { Peek } from '../../peek/peek.ts';
import { stuffed } from '../faults.ts';
import type { Meeting, Opening, Terms } from '../protocol.ts';
import { ask } from './ask.ts';
import { acceptSsl, readPreamble, refuse } from './preamble.ts';
import { lastWords } from './refusals.ts';

/** Refusals do not depend on what was said before, so all clients of a kind share one meeting. */
export function meet({ takesGlued = false }: Terms): Meeting {
  return takesGlued ? lenient : strict;
}

const strict: Meeting = meetingOf(false);
const lenient: Meeting = meetingOf(true);

function meetingOf(takesGlued: boolean): Meeting {
  return { accept: (client) => accept(client, takesGlued), within, announce: ask, refuse: lastWords };
}

/**
 * Answers SSLRequest with S and GSSENCRequest with N, each only once. Nothing may follow a request before its
 * answer: such bytes would be taken for part of the protected session (CVE-2021-23222).
 */
async function accept(client: Peek, takesGlued: boolean): Promise<Opening> {
  let gssRefused = false;
  for (;;) {
    const preamble = await client.read(readPreamble);
    switch (preamble.kind) {
      case 'tls':
        return { kind: 'tls' };
      case 'startup':
        return { kind: 'plain' };
      case 'cancel':
        return { kind: 'cancel', message: preamble.message };
    }
    client.drop(preamble.length);
    if (client.length > 0 && !takesGlued) throw stuffed('CVE-2021-23222');
    if (preamble.kind === 'ssl_request') {
      client.write(acceptSsl);
      return { kind: 'tls' };
    }
    if (gssRefused) {
      throw new ProxyError('ERR_STARTTLS_INVALID', { side: 'client', message: 'a second GSSENCRequest' });
    }
    gssRefused = true;
    client.write(refuse);
  }
}

/**
 * libpq 17 sends its CancelRequest inside TLS. Anything else is the session's
 * StartupMessage, which stays unread.
 */
async function within(client: Peek): ReturnType<NonNullable<Meeting['within']>> {
  const preamble = await client.read(readPreamble);
  if (preamble.kind === 'cancel') return { kind: 'cancel', message: preamble.message };
  if (preamble.kind === 'startup') return { kind: 'tls' };
  throw new ProxyError('ERR_STARTTLS_INVALID', { side: 'client', message: 'a request for TLS within TLS' });
}

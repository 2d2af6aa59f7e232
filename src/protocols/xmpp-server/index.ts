/** XMPP between servers (port 5269). */
import type { Protocol } from '../protocol.ts';
import { protocolFor } from '../xmpp/index.ts';

export const xmppServer: Protocol = protocolFor('XMPP between servers', 'xmpp-server', 'jabber:server');

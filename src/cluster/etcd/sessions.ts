/** HTTP/2 sessions with a member of etcd. */
import { Http2SessionManager } from '@connectrpc/connect-node';

/**
 * A member that is stopped in an orderly way sends GOAWAY. If no call is under way then, connect-node (2.1.2)
 * ends the session with an error, and no longer listens for it if the manager is left or asked before it
 * comes; and an error that nobody listens for ends the process.
 */
export class Sessions extends Http2SessionManager {
  override async request(...args: Parameters<Http2SessionManager['request']>) {
    const stream = await super.request(...args);
    const { session } = stream;
    if (session && !session.listeners('error').includes(ignore)) session.on('error', ignore);
    return stream;
  }
}

/** Whoever uses the session hears of it by a call. */
function ignore(): void {}

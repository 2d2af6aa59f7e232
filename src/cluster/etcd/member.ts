/** One member of an etcd cluster, and the connections to it. */
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { EtcdOptions } from './etcd.ts';
import { Auth, KV, Lease, Watch } from './rpc_pb.ts';
import { Sessions } from './sessions.ts';

export type Member = {
  readonly endpoint: string;
  readonly kv: Client<typeof KV>;
  readonly lease: Client<typeof Lease>;
  readonly watches: Client<typeof Watch>;
  /** What every call carries. */
  readonly metadata: () => { headers: Headers };
  /** Logs in if needed, and once again if etcd has forgotten the login: its tokens live for minutes. */
  readonly authenticated: <T>(call: () => Promise<T>) => Promise<T>;
  /** Drops its connections; the next call makes new ones. */
  readonly abort: () => void;
};

/** etcd takes more frequent pings for abuse (`too_many_pings`), and any on a connection without a stream. */
const pings = { pingIntervalMs: 10_000, pingIdleConnection: false, pingTimeoutMs: 3000 } as const;

export function createMember(endpoint: string, { ca, certificate, login }: EtcdOptions): Member {
  const secure = {
    ca: [...ca],
    minVersion: 'TLSv1.2' as const,
    ...(certificate && { cert: certificate.cert, key: certificate.key }),
    ...(certificate?.passphrase !== undefined && { passphrase: certificate.passphrase }),
  };
  const connection = () => {
    const sessionManager = new Sessions(endpoint, pings, secure);
    return { sessionManager, transport: createGrpcTransport({ baseUrl: endpoint, sessionManager }) };
  };
  const [calls, streams] = [connection(), connection()];
  const auth = createClient(Auth, calls.transport);
  let token: string | undefined;

  async function logIn(): Promise<void> {
    if (login === undefined) return;
    const answer = await auth.authenticate(
      { name: login.user, password: login.password },
      { timeoutMs: 4000 },
    );
    token = answer.token;
  }

  return {
    endpoint,
    kv: createClient(KV, calls.transport),
    lease: createClient(Lease, calls.transport),
    watches: createClient(Watch, streams.transport),
    metadata: () => ({ headers: new Headers(token === undefined ? {} : { token }) }),
    async authenticated(call) {
      if (token === undefined) await logIn();
      try {
        return await call();
      } catch (error) {
        if (login === undefined || ConnectError.from(error).code !== Code.Unauthenticated) throw error;
        await logIn();
        return call();
      }
    },
    abort() {
      calls.sessionManager.abort();
      streams.sessionManager.abort();
    },
  };
}

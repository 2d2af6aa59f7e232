/** One member of an etcd cluster, and the connections to it. */
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import type { Credentials } from './etcd.ts';
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
  /** Drops its connections, and the login; the next call makes new ones. */
  readonly abort: () => void;
};

/** etcd takes more frequent pings for abuse (`too_many_pings`), and any on a connection without a stream. */
const pings = { pingIntervalMs: 10_000, pingIdleConnection: false, pingTimeoutMs: 3000 } as const;

/** `credentials` are asked for with each connection. */
export function createMember(endpoint: string, credentials: () => Credentials): Member {
  const secure = {
    minVersion: 'TLSv1.2' as const,
    get ca() {
      return [...credentials().ca];
    },
    get crl() {
      return [...(credentials().crl ?? [])];
    },
    get cert() {
      return credentials().certificate?.cert;
    },
    get key() {
      return credentials().certificate?.key;
    },
    get passphrase() {
      return credentials().certificate?.passphrase;
    },
  };
  const connection = () => {
    const sessionManager = new Sessions(endpoint, pings, secure);
    return { sessionManager, transport: createGrpcTransport({ baseUrl: endpoint, sessionManager }) };
  };
  const [calls, streams] = [connection(), connection()];
  const auth = createClient(Auth, calls.transport);
  let token: string | undefined;

  async function logIn(): Promise<void> {
    const { login } = credentials();
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
        if (credentials().login === undefined || ConnectError.from(error).code !== Code.Unauthenticated)
          throw error;
        await logIn();
        return call();
      }
    },
    abort() {
      token = undefined;
      calls.sessionManager.abort();
      streams.sessionManager.abort();
    },
  };
}

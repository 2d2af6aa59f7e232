/**
 * A client of etcd: reads, transactions, watches and leases, over gRPC, with one connection for watches and
 * one for the rest (a watch starves behind large answers on the same connection). It talks to one member at a
 * time, and moves to the next when one does not answer.
 */
import { Code, ConnectError } from '@connectrpc/connect';
import { faultOf, isMembersFault } from './faults.ts';
import { createMember, type Member } from './member.ts';
import {
  type Compare,
  endOf,
  type Header,
  headerOf,
  type KeyValue,
  keyValueOf,
  type Operation,
} from './messages.ts';
import { type Watching, watchOn } from './watch.ts';

export type { Compare, KeyValue, Operation } from './messages.ts';
export type { WatchAnswer, Watching } from './watch.ts';

/** How etcd knows who this is, and the other way round. */
export type Credentials = {
  /** PEM. */
  readonly ca: readonly string[];
  readonly crl?: readonly string[];
  /** PEM: its common name is the user. */
  readonly certificate?: {
    readonly cert: string;
    readonly key: string;
    readonly passphrase?: string | undefined;
  };
  /** Instead of a certificate's common name. */
  readonly login?: { readonly user: string; readonly password: string };
};

export type EtcdOptions = Credentials & {
  readonly endpoints: readonly string[];
  /** How long to wait for an answer (ms). */
  readonly timeout?: number;
};

/** Everything under a prefix, or one key, at one revision. */
export type Range = Header & { readonly entries: readonly KeyValue[] };

export type TxnResult = Header & { readonly succeeded: boolean };

export type RangeOptions = {
  /** At an earlier revision than the latest. */
  readonly revision?: number;
  readonly keysOnly?: boolean;
};

/** Every call rejects with a ProxyError (ERR_CLUSTER). */
export type Etcd = {
  /** The member being talked to. */
  readonly endpoint: () => string;
  /** All keys that begin with `prefix`, sorted, read in pages at one revision. */
  readonly range: (prefix: string, options?: RangeOptions) => Promise<Range>;
  /** One key. */
  readonly get: (
    key: string,
    options?: Pick<RangeOptions, 'revision'>,
  ) => Promise<Header & { readonly entry: KeyValue | undefined }>;
  /** Writes everything if all comparisons hold, or else nothing. At most 128 operations and 1.5 MiB. */
  readonly txn: (compare: readonly Compare[], operations: readonly Operation[]) => Promise<TxnResult>;
  /** Everything that happens to keys that begin with `prefix` from `revision` on, until it ends or fails. */
  readonly watch: (prefix: string, revision: number) => Watching;
  /** A lease of so many seconds; resolves with its id. */
  readonly grant: (seconds: number) => Promise<bigint>;
  /** False if the lease is gone. */
  readonly keepAlive: (lease: bigint) => Promise<boolean>;
  readonly revoke: (lease: bigint) => Promise<void>;
  /** Leaves the member, which is known to be of no use: the next call goes to another one. */
  readonly leave: () => void;
  /** Connects anew if these are others than before. */
  readonly use: (credentials: Credentials) => void;
  readonly close: () => void;
};

const pageSize = 500;
const defaultTimeout = 4000;

export function createEtcd(options: EtcdOptions): Etcd {
  const { current, leave, ask, use, isClosed, close } = createMembers(options);
  return {
    endpoint: () => current().endpoint,
    range: (prefix, wanted) => readPages(ask, prefix, wanted),
    async get(key, { revision = 0 } = {}) {
      const request = { key: Buffer.from(key), revision: BigInt(revision) };
      const answer = await ask((member, call) => member.kv.range(request, { ...member.metadata(), ...call }));
      const [found] = answer.kvs;
      return { ...headerOf(answer.header), entry: found && keyValueOf(found) };
    },
    async txn(compare, operations) {
      const request = {
        compare: compare.map((one) => one.message),
        success: operations.map((one) => one.message),
      };
      const answer = await ask((member, call) => member.kv.txn(request, { ...member.metadata(), ...call }));
      return { ...headerOf(answer.header), succeeded: answer.succeeded };
    },
    watch(prefix, revision) {
      const member = current();
      return watchOn(member, prefix, revision, (error) => {
        if (!isClosed()) leave(member);
        return faultOf(error, member);
      });
    },
    async grant(seconds) {
      const { ID } = await ask((member, call) =>
        member.lease.leaseGrant({ TTL: BigInt(seconds) }, { ...member.metadata(), ...call }),
      );
      return ID;
    },
    async keepAlive(lease) {
      return ask(async (member, call) => {
        const asked = (async function* () {
          yield { ID: lease };
        })();
        for await (const { TTL } of member.lease.leaseKeepAlive(asked, { ...member.metadata(), ...call }))
          return TTL > 0n;
        throw new ConnectError('the stream ended', Code.Unavailable);
      });
    },
    async revoke(lease) {
      await ask((member, call) => member.lease.leaseRevoke({ ID: lease }, { ...member.metadata(), ...call }));
    },
    leave: () => leave(current()),
    use,
    close,
  };
}

type Ask = <T>(question: (member: Member, options: { timeoutMs: number }) => Promise<T>) => Promise<T>;

/** The members, of which one is asked until it fails. */
function createMembers(options: EtcdOptions) {
  let credentials: Credentials = options;
  const members = options.endpoints.map((endpoint) => createMember(endpoint, () => credentials));
  const timeoutMs = options.timeout ?? defaultTimeout;
  let at = Math.floor(Math.random() * members.length);
  let closed = false;
  const current = (): Member => members[at % members.length]!; // the schema demands at least one

  function leave(left: Member): void {
    left.abort();
    if (current() === left) at += 1;
  }

  /** Asks one member after another until one answers. */
  const ask: Ask = async (question) => {
    for (let tried = 1; ; tried++) {
      const member = current();
      try {
        return await member.authenticated(() => question(member, { timeoutMs }));
      } catch (error) {
        if (closed || !isMembersFault(error)) throw faultOf(error, member);
        leave(member);
        if (tried >= members.length) throw faultOf(error, member);
      }
    }
  };

  function use(next: Credentials): void {
    if (textOf(next) === textOf(credentials)) return;
    credentials = next;
    for (const member of members) member.abort();
  }

  function close(): void {
    closed = true;
    for (const member of members) member.abort();
  }

  return { current, leave, ask, use, close, isClosed: () => closed };
}

function textOf({ ca, crl, certificate, login }: Credentials): string {
  const { cert, key, passphrase } = certificate ?? {};
  return JSON.stringify([ca, crl, cert, key, passphrase, login]);
}

/** All keys below the prefix as they are at one revision: that of the first page, unless one is wanted. */
async function readPages(
  ask: Ask,
  prefix: string,
  { revision, keysOnly = false }: RangeOptions = {},
): Promise<Range> {
  const entries: KeyValue[] = [];
  const rangeEnd = endOf(prefix);
  let key = Buffer.from(prefix);
  let header: Header | undefined = revision === undefined ? undefined : { revision, clusterId: 0n };
  for (;;) {
    const request = {
      key,
      rangeEnd,
      limit: BigInt(pageSize),
      revision: BigInt(header?.revision ?? 0),
      keysOnly,
    };
    const page = await ask((member, call) => member.kv.range(request, { ...member.metadata(), ...call }));
    header ??= headerOf(page.header);
    entries.push(...page.kvs.map(keyValueOf));
    const last = page.kvs.at(-1);
    if (!page.more || last === undefined) return { ...header, entries };
    key = Buffer.concat([last.key, Buffer.of(0)]);
  }
}

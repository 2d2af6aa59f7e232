/** What errors of etcd mean for whoever configured it, and what to do about them. */
import { Code, ConnectError } from '@connectrpc/connect';
import { ProxyError } from '../../errors.ts';
import type { Member } from './member.ts';

/** Another member may do better; anything else is an answer. */
export function isMembersFault(error: unknown): boolean {
  return membersFaults.has(ConnectError.from(error).code);
}

const membersFaults: ReadonlySet<Code> = new Set([
  ...[Code.Unavailable, Code.DeadlineExceeded, Code.Canceled, Code.Internal, Code.Unknown],
  // A connection that was reset.
  Code.Aborted,
]);

export function faultOf(error: unknown, { endpoint }: Pick<Member, 'endpoint'>): ProxyError {
  const { rawMessage } = ConnectError.from(error);
  const [, reason = rawMessage] = /SSL routines:[^:]*:([^:]+)/.exec(rawMessage) ?? [];
  // Node's advice is for its own command line.
  const [words = ''] = reason.trim().split('; ');
  return new ProxyError('ERR_CLUSTER', {
    side: 'upstream',
    message: `${endpoint}: ${words}`,
    hint: hintFor(error, words),
    cause: error,
  });
}

function hintFor(error: unknown, words: string): string | undefined {
  const [, hint] = hints.find(([pattern]) => pattern.test(words)) ?? [];
  return hint ?? (isMembersFault(error) ? 'is etcd running, and may this machine reach it?' : undefined);
}

const hints: readonly (readonly [RegExp, string])[] = [
  [/permission denied/, '`penstock cluster roles` prints the rights that the users of etcd need'],
  [/authentication failed|auth token|user name/, 'check cluster.etcd.certificate, or user and password_file'],
  [
    /authentication is not enabled/,
    'run `etcdctl auth enable`, or leave cluster.etcd.user and password_file out',
  ],
  [/altnames/, 'cluster.etcd.endpoints must have a name or address that is in etcd’s certificate'],
  [
    /alert/,
    'etcd refuses cluster.etcd.certificate: is it in date, and of the CA that etcd trusts (--trusted-ca-file)?',
  ],
  [/wrong version number/, 'that is not TLS: give etcd --cert-file and --key-file, and https:// addresses'],
  [/certificate|CRL/, 'is cluster.etcd.authority the CA that issued etcd’s certificates?'],
  [/database space exceeded/, 'compact and defragment etcd, then `etcdctl alarm disarm`'],
  [/request is too large/, 'etcd takes 1.5 MiB (--max-request-bytes)'],
];

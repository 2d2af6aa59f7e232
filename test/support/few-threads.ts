/** A user's check in a process of its own, to be given few threads: `few-threads.ts MODULE`. It answers whoever it is sent. */
import { createAuthorizer } from '../../src/tls/client-auth/authorize.ts';
import type { ClientIdentity } from '../../src/tls/client-auth/client-identity.ts';

const authorizer = createAuthorizer(process.argv[2] ?? '', { timeoutMs: 300 });
await authorizer.ready();
process.on('message', async (identity: ClientIdentity) => {
  const answer = await authorizer.check(identity).then(
    () => 'let in',
    (error: Error) => error.message,
  );
  process.send?.(answer);
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');

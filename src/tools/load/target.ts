/** The target of the load: resolved once, and only on this machine unless its owner says otherwise. */
import { systemCode } from '../../errors.ts';
import { addressesOf, firstThatAccepts } from '../../net/target-address.ts';
import { parseEndpoint } from '../../net/written-address.ts';
import { UsageError } from '../terminal/usage.ts';
import type { Plan } from './engine/plan.ts';

export type LoadTarget = {
  readonly plan: Plan['target'];
  /** The name or address as given, for SNI and verification. */
  readonly host: string | undefined;
};

/**
 * Every address of a name must be a loopback address, unless `owned`. If there are several, the first that
 * accepts a connection is used for all. Throws UsageError.
 */
export async function resolveTarget(text: string, owned: boolean): Promise<LoadTarget> {
  const endpoint = parseEndpoint(text);
  if (endpoint && 'path' in endpoint) return { plan: endpoint, host: undefined };
  if (!endpoint || endpoint.host === undefined || endpoint.port === 0) {
    throw new UsageError(`${text}: expected host:port, [v6]:port or unix:/path`);
  }
  const { host, port } = endpoint;
  const addresses = await addressesOf(host).catch((error: unknown) => {
    throw new UsageError(`${host} cannot be resolved (${systemCode(error)})`);
  });
  const foreign = addresses.find((address) => !isLoopback(address));
  if (foreign !== undefined && !owned) {
    const what = foreign === host ? host : `${host} is ${foreign}, which`;
    throw new UsageError(
      `${what} is not a loopback address; load on a machine of others is an attack. If it is yours, say so: --i-own-this-target`,
    );
  }
  const address = (await firstThatAccepts(addresses, port, 1000)) ?? '';
  return { plan: { host: address, port }, host };
}

function isLoopback(address: string): boolean {
  return address === '::1' || /^127\./.test(address);
}

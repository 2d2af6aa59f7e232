/** Looks names up before the first client needs them. */
import type { UpstreamConfig } from '../config/schema/schema.ts';
import { isTemplate, parseTarget } from './endpoint.ts';
import type { Resolver } from './resolve.ts';

/** Only a few at a time, so that clients that arrive meanwhile need not wait for all of them. */
const atOnce = 4;

/** Looks up every name that is not a template. Ignores failures: if one lasts, a client will report it. */
export async function lookUpNames(upstreams: Iterable<UpstreamConfig>, resolver: Resolver): Promise<void> {
  const names = new Map<string, number>();
  for (const { endpoints, resolve } of upstreams) {
    for (const { address } of endpoints) {
      const target = parseTarget(address);
      if ('path' in target || target.address !== undefined || isTemplate(target.host)) continue;
      names.set(target.host, resolve.ttl);
    }
  }
  const left = names.entries();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const [name, ttl] of left) await resolver.resolve(name, ttl).catch(() => undefined);
    }),
  );
}

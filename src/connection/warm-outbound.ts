/** Keeps connections to an upstream ready: as far as the way to it does not depend on a client. */
import type { UpstreamConfig } from '../config/schema/schema.ts';
import type { WarmCounts } from '../observe/metrics.ts';
import { warmExtent } from '../upstream/warm/extent.ts';
import type { ShelfParts } from '../upstream/warm/shelf.ts';
import { WarmPool } from '../upstream/warm/warm-pool.ts';
import { type Outbound, originate, type PreparedUpstream } from './outbound.ts';

type Around = Pick<ShelfParts<PreparedUpstream>, 'descriptors' | 'logger'> & {
  /** Required if the upstream has `warm`. */
  readonly counts: WarmCounts | undefined;
};

/**
 * The same outbound plus its warm connections, if the configuration asks for any. Dials none before `open`.
 */
export function withWarm(outbound: Outbound, settings: UpstreamConfig['warm'], around: Around): Outbound {
  const { counts } = around;
  if (settings === undefined || counts === undefined) return outbound;
  const { upstream, originator, protocol } = outbound;
  const isUntilTls = warmExtent(upstream.config).until === 'tls';
  const warm = new WarmPool<PreparedUpstream>({
    ...around,
    counts,
    upstream,
    settings,
    isForSplice: originator === undefined,
    begin(side, endpoint, signal) {
      if (originator === undefined || !isUntilTls) {
        return { stream: side, tls: undefined, greeting: undefined };
      }
      return originate({ side, endpoint, signal, options: noClient, ahead: undefined }, originator, protocol);
    },
  });
  return { ...outbound, warm };
}

const noClient = { sni: undefined };

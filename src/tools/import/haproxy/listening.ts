/** The listener that a frontend becomes, under construction. */
import type { Draft } from '../draft.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import type { Backends } from './backends.ts';
import type { Bind } from './bind.ts';
import type { PemFiles } from './files.ts';
import type { ProxySection } from './proxies.ts';
import type { FrontendRules } from './rules.ts';
import type { Options } from './tls.ts';

/** Shared by all frontends of a configuration. */
export type FrontendParts = {
  readonly draft: Draft;
  readonly files: PemFiles;
  readonly backends: Backends;
  readonly byName: ReadonlyMap<string, ProxySection>;
  readonly bindDefaults: Options;
  /** Of `global`. */
  readonly maxconn: string | undefined;
  readonly notes: Notes;
  readonly surroundings: Surroundings;
};

/**
 * `idle` collects the idle time-outs, in milliseconds, of the upstreams in use; `unclear.plain` is why it is
 * not known what HAProxy does with clients without TLS.
 */
export type Listening = {
  readonly proxy: ProxySection;
  readonly bind: Bind;
  readonly ports: readonly number[];
  /** All of its addresses are IPv6 only. */
  readonly onlyIpv6: boolean;
  readonly rules: FrontendRules;
  readonly idle: Set<number>;
  readonly unclear: { plain?: string };
};

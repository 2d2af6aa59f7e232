/** A listener that a frontend becomes, while it is made. */
import type { Draft } from '../draft.ts';
import type { Notes } from '../notes.ts';
import type { Surroundings } from '../result.ts';
import type { Backends } from './backends.ts';
import type { Bind } from './bind.ts';
import type { PemFiles } from './files.ts';
import type { ProxySection } from './proxies.ts';
import type { FrontendRules } from './rules.ts';
import type { Options } from './tls.ts';

/** What all frontends of a configuration share. */
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

/** `idle` collects, in milliseconds, the silence that each upstream in use bears. */
export type Listening = {
  readonly proxy: ProxySection;
  readonly bind: Bind;
  readonly ports: readonly number[];
  /** All of its addresses are. */
  readonly onlyIpv6: boolean;
  readonly rules: FrontendRules;
  readonly idle: Set<number>;
};

/** Where configurations come from, as those see it who serve them. */
import type { Logger } from 'pino';
import type { SendableConfig } from './transfer.ts';

/**
 * It offers whole configurations that it has read and checked: however small a change is, an offer is all that is to be served.
 * A source never pushes one. It says that there is news, and whoever serves takes the offer in its own turn; what changes
 * meanwhile is in that offer too.
 */
export type ConfigSource = {
  /** What people know it by: a file's absolute path. */
  readonly name: string;
  /** Everything anew, for the start and whenever somebody asks. Rejects with a ConfigError of all faults. */
  readonly load: () => Promise<Offer>;
  /** Calls `onNews` when something differs from what was read last. */
  readonly watch: (onNews: () => void, logger: Logger) => Watch;
  /** Nothing is loaded any more. Resolves when nothing is being read: a pipe, or a file system that hangs, may be for ever. */
  readonly close: () => Promise<void>;
};

export type Offer = {
  readonly loaded: SendableConfig;
  /** It is served from now on. An offer that is not taken leaves nothing behind: the source goes by the one taken before. */
  readonly take: () => Promise<void>;
};

export type Watch = {
  /** Why news is taken, in the words of the log. */
  readonly reason: string;
  /** Whether something differs still from what was read last: a `load` in between may have read it. */
  readonly hasNews: () => Promise<boolean>;
  /** What has changed by itself, and no more. Where that does not fit together yet the rest is waited for; rejects as `load`. */
  readonly news: () => Promise<Offer>;
  /** Nothing is waited for any more. */
  readonly close: () => void;
};

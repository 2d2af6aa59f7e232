/** The interface of a configuration source, as the code that serves sees it. */
import type { Logger } from 'pino';
import type { SendableConfig } from './transfer.ts';

/**
 * Offers whole configurations that it has read and checked: however small a change is, an offer is everything
 * to be served. A source never pushes an offer. It announces news, and the server takes the offer when it is
 * ready; changes in the meantime are part of it.
 */
export type ConfigSource = {
  /** Identifies it for people, such as a file's absolute path. */
  readonly name: string;
  /** Reads everything again, at the start and on request. Rejects with a ConfigError that has all faults. */
  readonly load: () => Promise<Offer>;
  /** Calls `onNews` when something differs from the last read. */
  readonly watch: (onNews: () => void, logger: Logger) => Watch;
  /**
   * Stops loading. Resolves when nothing is being read, which may never happen with a pipe or a hanging file
   * system.
   */
  readonly close: () => Promise<void>;
};

export type Offer = {
  readonly loaded: SendableConfig;
  /**
   * Marks it as served from now on. An offer that is not taken changes nothing: the source continues from the
   * one taken last.
   */
  readonly take: () => Promise<void>;
  /**
   * Called if it cannot be served, with the reasons: another offer without what is at fault, if there can be
   * one.
   */
  readonly without?: (faults: readonly string[]) => Promise<Offer | undefined>;
  /** Called instead of `take` if neither it nor another can be served, with the reasons. */
  readonly refused?: (faults: readonly string[]) => void;
};

export type Watch = {
  /** The reason for the reload, as logged. */
  readonly reason: string;
  /** Whether something still differs from the last read: a `load` in between may have read it. */
  readonly hasNews: () => Promise<boolean>;
  /**
   * Offers only what has changed on its own. Waits for the rest if the changes do not fit together yet;
   * rejects like `load`.
   */
  readonly news: () => Promise<Offer>;
  /** Stops watching and waiting. */
  readonly close: () => void;
};

/** How much is logged: what an operator asked for last, else the command line, else the configuration. */
import type { Config } from '../config/schema/schema.ts';

export type Level = Config['log']['level'];

export type LogLevel = {
  readonly now: () => Level;
  /** Takes over the level of a configuration, which counts if nobody has asked for another. */
  readonly follow: (configured: Level) => void;
  /** `reset` forgets what an operator asked for. */
  readonly set: (asked: Level | 'reset') => void;
};

/** Calls `apply` whenever the level may have changed. */
export function createLogLevel(
  first: Level,
  option: Level | undefined,
  apply: (level: Level) => void,
): LogLevel {
  let configured = first;
  let asked: Level | undefined;
  const now = () => asked ?? option ?? configured;
  return {
    now,
    follow(level) {
      configured = level;
      apply(now());
    },
    set(level) {
      asked = level === 'reset' ? undefined : level;
      apply(now());
    },
  };
}

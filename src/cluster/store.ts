/** Where objects are kept, as those that read and write them see it. */
import type { Kind, State, StoredObject } from './apisix/objects.ts';

export type Change = {
  readonly kind: Kind;
  readonly id: string;
  /** undefined deletes it. */
  readonly value: StoredObject['value'] | undefined;
  /** The change is made only if the object was last modified at this revision; 0: if there is none. */
  readonly expected: number;
};

/** Objects that are only read here. */
export interface Observed {
  /** For people, such as a directory. */
  readonly name: string;
  /** The newest state known here. */
  readonly state: () => State;
  /** Calls `onChange` after each change of the state, whoever made it. */
  readonly watch: (onChange: () => void) => void;
  readonly close: () => Promise<void>;
}

export interface Store extends Observed {
  /**
   * Makes the change durable, unless the object was changed meanwhile: then it resolves with undefined.
   * Otherwise with the state that has it. Rejects if it cannot be written; nothing is changed then.
   */
  readonly write: (change: Change) => Promise<State | undefined>;
}

/** What can be counted in a process from within. One at a time: the others would be counted, too. */
import { allocationSites, heapUse } from './allocations.ts';
import { stackHere } from './stacks.ts';
import { watch } from './watch.ts';

/** How often each thing happened since `begin`, by its name; or bytes, by where they were allocated. */
export type Counts = Readonly<Record<string, number>>;

export type Instrument = { readonly begin: () => void; readonly end: () => Counts };

export const instruments = {
  /** Promises, ticks, timers, handles, requests and listeners. */
  events: tallyOf((what) => what),
  /** The same, by what made them. */
  stacks: tallyOf((what, detail) => `${what} ${detail}\t${stackHere()}`),
  /** Objects and their bytes, allocated on V8's heap. */
  heap: heapUse(),
  /** The bytes, by what allocated them. */
  allocations: allocationSites(),
} satisfies Record<string, Instrument>;

export type InstrumentName = keyof typeof instruments;

function tallyOf(keyOf: (what: string, detail: string) => string): Instrument {
  const counts = new Map<string, number>();
  let stop = () => {};
  return {
    begin() {
      counts.clear();
      stop = watch((what, detail = '') => {
        const key = keyOf(what, detail);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      });
    },
    end() {
      stop();
      return Object.fromEntries(counts);
    },
  };
}

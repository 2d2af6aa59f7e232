/** Makes changes: tries each with everything else, stores it, and waits until it is served. */
import { describeFaults, type Finding, formatFinding } from '../../config/finding.ts';
import type { SendableConfig } from '../../config/transfer.ts';
import { ProxyError } from '../../errors.ts';
import { createTurns } from '../../process/turns.ts';
import { keyOf, type State, type StoredObject } from '../apisix/objects.ts';
import type { ObjectSource } from '../object-source.ts';
import type { Change, Store } from '../store.ts';
import { Refusal } from './answer.ts';

export type Written = {
  /** undefined if it was deleted. */
  readonly object: StoredObject | undefined;
  /** What else there is to say of the object, as lines. */
  readonly warnings: readonly string[];
};

export type Writer = {
  /**
   * `decide` gets the state to change, and returns the change, or throws a Refusal. With `force`, objects
   * may be held back by it. Resolves once every worker serves it. Rejects with a Refusal, and then nothing
   * is changed.
   */
  readonly change: (decide: (state: State) => Change, force: boolean) => Promise<Written>;
};

/** How long a change may take until workers serve it. */
const applyMs = 120_000;

export function createWriter(source: ObjectSource<Store>): Writer {
  const inTurn = createTurns();
  return {
    async change(decide, force) {
      const made = await inTurn(() => store(source, decide, force));
      await settle(source, made);
      return { object: made.state.objects.get(keyOf(made.change)), warnings: made.warnings };
    },
  };
}

type Made = {
  readonly change: Change;
  readonly before: StoredObject | undefined;
  readonly state: State;
  readonly warnings: readonly string[];
};

async function store(
  source: ObjectSource<Store>,
  decide: (state: State) => Change,
  force: boolean,
): Promise<Made> {
  const { store } = source;
  const current = store.state();
  const change = decide(current);
  const before = current.objects.get(keyOf(change));
  const known = source.newest;
  const next = stateWith(current, change);
  const loaded = await source.check(next).catch((error: unknown) => {
    throw new Refusal(503, `nothing can be changed now: ${describeFaults(error).join('; ')}`);
  });
  const held = heldBy(change, loaded.held, known?.held);
  if (held.length > 0 && !force) throw new Refusal(400, `invalid configuration: ${held.join('; ')}`);
  const state = await store.write({ ...change, expected: before?.modified ?? 0 }).catch((error: unknown) => {
    throw new Refusal(503, error instanceof ProxyError ? `${error.code}: ${error.message}` : String(error));
  });
  if (state === undefined) throw new Refusal(409, `${keyOf(change)} was changed by somebody else meanwhile`);
  if (isAsChecked(state, next, change)) source.expect({ state, loaded });
  return { change, before, state, warnings: warningsFor(change, loaded) };
}

/** As the store will have it. */
function stateWith({ revision, objects }: State, change: Change): State {
  const next = new Map(objects);
  const key = keyOf(change);
  const { kind, id, value } = change;
  const created = objects.get(key)?.created ?? revision + 1;
  if (value === undefined) next.delete(key);
  else next.set(key, { kind, id, value, created, modified: revision + 1 });
  return { revision: revision + 1, objects: next };
}

/** Others may write to the same store: then what was checked is not what there is now. */
function isAsChecked({ objects }: State, next: State, change: Change): boolean {
  const own = keyOf(change);
  const isSame = ([key, object]: [string, StoredObject]) => key === own || next.objects.get(key) === object;
  return objects.size === next.objects.size && [...objects].every(isSame);
}

/** Waits until it is served. If it cannot be, what was there before is stored again. */
async function settle(source: ObjectSource<Store>, { change, before, state }: Made): Promise<void> {
  const applied = await withinTime(source.applied(state.revision));
  if (applied === undefined) {
    throw new Refusal(503, `stored, but not served by all workers within ${applyMs / 1000} s; see the log`);
  }
  if (applied.ok) return;
  const { kind, id } = change;
  const expected = state.objects.get(keyOf(change))?.modified ?? 0;
  const back = await source.store.write({ kind, id, value: before?.value, expected }).catch(() => undefined);
  const outcome = back ? 'it was taken back' : 'it is stored, but not served';
  throw new Refusal(503, `${outcome}: ${applied.faults.join('; ')}`);
}

async function withinTime<T>(step: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, applyMs, undefined);
  });
  return Promise.race([step, late]).finally(() => clearTimeout(timer));
}

/** What would be held back because of it. */
function heldBy(change: Change, held: readonly Finding[], known: readonly Finding[] = []): string[] {
  const lines = new Set(known.map(formatFinding));
  const key = keyOf(change);
  return held.flatMap((finding) => {
    const line = formatFinding(finding);
    return finding.file === key || !lines.has(line) ? [line] : [];
  });
}

function warningsFor(change: Change, { warnings }: SendableConfig): string[] {
  const key = keyOf(change);
  return warnings.filter(({ file }) => file === key).map(formatFinding);
}

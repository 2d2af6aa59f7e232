/**
 * Keeps the parts of a faulty configuration that parse, so that references, rules and files are checked in
 * the same run, and all faults are shown at once.
 */
import type { Path } from '../finding.ts';
import { explainIssues, type SchemaFault } from '../schema/issues.ts';
import { type Config, configSchema } from '../schema/schema.ts';
import { standInFor } from './stand-ins.ts';

/** What could be parsed, and how it maps back to the file as written. */
type Salvage = {
  /** undefined if nothing could be kept. */
  readonly config: Config | undefined;
  /** Translates a path in `config` to one in the file, since lists may have lost entries. */
  readonly written: (path: Path) => Path;
  /** Whether something was removed from or added to the mapping at `path` of `config`, or to its parent. */
  readonly wasCut: (path: Path) => boolean;
};

/**
 * Repairs `raw` in place until it parses: removes faulty values, and either fills in a missing key or removes
 * the mapping that lacks it.
 */
export function salvage(raw: unknown, faults: readonly SchemaFault[]): Salvage {
  const cut = new Set<object>();
  const kept = new Map<unknown[], number[]>();
  const written = (path: Path) => path.map((step, index) => originalStep(raw, path, index, step, kept));
  const wasCut = (path: Path): boolean => {
    const container = containerAt(raw, path);
    if (container !== undefined && !Array.isArray(container)) return cut.has(container);
    return path.length > 0 && wasCut(path.slice(0, -1));
  };
  const filled = new Set<string>();
  let pending = faults;
  while (pending.length > 0) {
    const removals = pending.filter((fault) => !fillIn(raw, fault, cut, filled)).map(({ remove }) => remove);
    if (removals.some((path) => path.length === 0)) break;
    remove(raw, removals, cut, kept);
    const parsed = configSchema.safeParse(raw);
    if (parsed.success) return { config: parsed.data, written, wasCut };
    pending = explainIssues(parsed.error.issues, raw);
  }
  return { config: undefined, written, wasCut };
}

/** False if the fault is not a missing key, or the key has no stand-in, or its stand-in did not help. */
function fillIn(
  raw: unknown,
  { remove: path, lacks }: SchemaFault,
  cut: Set<object>,
  filled: Set<string>,
): boolean {
  const value = lacks === undefined ? undefined : standInFor(lacks);
  const parent = containerAt(raw, path);
  const place = JSON.stringify([...path, lacks]);
  if (lacks === undefined || value === undefined || parent === undefined || filled.has(place)) return false;
  filled.add(place);
  if (typeof value === 'object' && value !== null) cut.add(value);
  (parent as Record<string, unknown>)[lacks] = value;
  return true;
}

const hole = Symbol('removed');

function remove(
  raw: unknown,
  paths: readonly Path[],
  cut: Set<object>,
  kept: Map<unknown[], number[]>,
): void {
  const lists = new Set<unknown[]>();
  for (const path of paths) {
    const parent = containerAt(raw, path.slice(0, -1));
    const step = path.at(-1) as string | number;
    if (parent === undefined) continue;
    cut.add(parent);
    if (Array.isArray(parent)) {
      // Mark first and remove later, so that the other paths of this round stay valid.
      parent[step as number] = hole;
      lists.add(parent);
    } else delete (parent as Record<string, unknown>)[step];
  }
  for (const list of lists) {
    const indexes = kept.get(list) ?? list.map((_, index) => index);
    kept.set(
      list,
      indexes.filter((_, index) => list[index] !== hole),
    );
    list.splice(0, list.length, ...list.filter((item) => item !== hole));
  }
}

function containerAt(raw: unknown, path: Path): object | undefined {
  let value = raw;
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return typeof value === 'object' && value !== null ? value : undefined;
}

function originalStep(
  raw: unknown,
  path: Path,
  index: number,
  step: string | number,
  kept: ReadonlyMap<unknown[], number[]>,
): string | number {
  if (typeof step !== 'number') return step;
  const list = containerAt(raw, path.slice(0, index));
  return (Array.isArray(list) ? kept.get(list)?.[step] : undefined) ?? step;
}

/** What a machine served last, as the lines of its snapshot. */
import type { Cluster } from './connect.ts';
import type { Gathered } from './gather.ts';
import type { Objects, Stored } from './load-state.ts';
import { readSnapshotFile, type SnapshotPlace } from './snapshot-file.ts';

export type Snapshot = Gathered & {
  readonly lastValid: Objects;
  /** The value of `tickets`, whose masters are sealed once more. */
  readonly tickets: string | undefined;
};

/** A line for each object; the last valid version only where it is another one. */
type Line = readonly [name: string, now: Stored | null, valid?: Stored | null];

export function* linesOf({ revision, objects, lastValid, tickets }: Snapshot): Generator<string> {
  yield JSON.stringify({ revision, tickets });
  for (const name of new Set([...objects.keys(), ...lastValid.keys()])) {
    const [now, valid] = [objects.get(name) ?? null, lastValid.get(name) ?? null];
    const line: Line = now === valid ? [name, now] : [name, now, valid];
    yield JSON.stringify(line);
  }
}

/** undefined if the configuration wants none. */
export function placeOf({ config, keys }: Cluster): SnapshotPlace | undefined {
  return config.snapshot === undefined
    ? undefined
    : { file: config.snapshot, place: `snapshot of ${keys.root}` };
}

/** A snapshot that cannot be read is none; the start says so. */
export async function readSnapshot(cluster: Cluster): Promise<Snapshot | undefined> {
  const at = placeOf(cluster);
  if (at === undefined) return undefined;
  try {
    const lines = await readSnapshotFile(at, cluster.seal);
    return lines && parseLines(lines);
  } catch (error) {
    process.stderr.write(`penstock: ${at.file} cannot be used: ${(error as Error).message}\n`);
    return undefined;
  }
}

/** Throws an Error if they are not those of a snapshot. */
export function parseLines([first = '', ...lines]: readonly string[]): Snapshot {
  const { revision, tickets } = JSON.parse(first) as Pick<Snapshot, 'revision' | 'tickets'>;
  const [objects, lastValid] = [new Map<string, Stored>(), new Map<string, Stored>()];
  for (const line of lines) {
    const [name, now, valid = now] = JSON.parse(line) as Line;
    if (now) objects.set(name, now);
    if (valid) lastValid.set(name, valid);
  }
  return { revision, objects, lastValid, tickets };
}

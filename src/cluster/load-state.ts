/**
 * Turns the state of etcd at one revision into a configuration. A faulty object is held back: its last valid
 * version serves, or else what depends on it is refused at its own place in the order, so that no client
 * falls through to a less specific route. One author's mistake so costs no one else anything.
 */
import { ConfigError, type Finding, formatFinding } from '../config/finding.ts';
import { PartsLoader } from '../config/parts-loader.ts';
import type { SendableConfig } from '../config/transfer.ts';
import { atOnce, type Work } from '../process/pacer.ts';
import { addressesTaken, type Base, isInFile, loadComposed, nameTaken, referencesOf } from './compose.ts';
import { isOlder } from './crl-order.ts';
import { type Keys, type ObjectName, parseObjectName, unknownObject } from './keys.ts';
import { ObjectReader } from './object-reader.ts';
import { type ObjectContext, type Part, wholeObject } from './objects.ts';

/** A value, and the revision at which it was written. */
export type Stored = { readonly text: string; readonly revision: number };
/** Objects by what follows `config/` in their keys. */
export type Objects = ReadonlyMap<string, Stored>;

export type State = {
  readonly objects: Objects;
  /** What the last configuration was made of; held back versions of an object are not in it. */
  readonly lastValid: Objects;
};

/** An object that is not served as it is in etcd. */
export type Held = {
  readonly name: string;
  readonly revision: number;
  readonly findings: readonly Finding[];
  /** The same, as lines. */
  readonly faults: readonly string[];
  /** What is in its place. */
  readonly serving: 'its earlier version' | 'a refusal' | 'nothing';
};

export type LoadedState = {
  readonly loaded: SendableConfig;
  readonly held: readonly Held[];
  readonly lastValid: Objects;
};

/**
 * Rejects with a ConfigError if the machine's file is at fault. Takes time in proportion to the number of
 * rounds that it needs until all that is left is valid: one, if nothing is faulty. What `loader` and `reader`
 * know from an earlier state is neither read nor checked again.
 */
export async function loadState(
  base: Base,
  { objects, lastValid }: State,
  keys: Keys,
  context: ObjectContext,
  { loader, reader, run } = createMemory(),
): Promise<LoadedState> {
  reader.begin(base, context);
  const reading = { base, keys, context, objects, lastValid, reader };
  const slots = new Map<string, Slot>();
  for (;;) {
    const parts = await run(partsOf(slots, reading));
    try {
      const loaded = await loadComposed(base, parts, loader);
      return { loaded, held: heldIn(slots), lastValid: validIn(slots, objects, lastValid) };
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const { findings } = error;
      if (!blame(findings, slots, reading) && !blameNew(findings, slots, reading)) throw error;
    }
  }
}

/** Listeners first: an address goes to the one that is served, or else to the oldest. */
function inOrder(objects: Objects, lastValid: Objects): Iterable<readonly [string, Stored]> {
  const listeners = [...objects].filter(([name]) => name.startsWith('listeners/'));
  if (listeners.length < 2) return objects;
  const rank = ([name]: readonly [string, Stored]) => (lastValid.has(name) ? 0 : 1);
  listeners.sort((a, b) => rank(a) - rank(b) || a[1].revision - b[1].revision);
  return new Map([...listeners, ...objects]);
}

/**
 * What may stand for an object, best first; `at` is the one in use. Those that are as they were when they
 * were valid have none, until they are blamed.
 */
type Slot = {
  readonly name: ObjectName | undefined;
  readonly revision: number;
  readonly versions: readonly Version[];
  at: number;
  faults: readonly Finding[];
};

type Version = { readonly stored: Stored; readonly as: 'itself' | 'its earlier version' | 'a refusal' };

function createSlot(name: string, current: Stored | undefined, earlier: Stored | undefined): Slot {
  const parsed = parseObjectName(name);
  const past = earlier && earlier.text !== current?.text ? [earlier] : [];
  const both = current ? [current, ...past] : past;
  const versions: Version[] = [
    ...(current ? [{ stored: current, as: 'itself' } as const] : []),
    ...past.map((stored) => ({ stored, as: 'its earlier version' }) as const),
    ...(parsed?.kind === 'routes' ? both.map((stored) => ({ stored, as: 'a refusal' }) as const) : []),
  ];
  return { name: parsed, revision: current?.revision ?? earlier?.revision ?? 0, versions, at: 0, faults: [] };
}

function skip(slot: Slot, findings: readonly Finding[]): void {
  if (slot.faults.length === 0) slot.faults = findings;
  slot.at += 1;
}

/** What is known from one state to the next. */
export type StateMemory = {
  readonly loader: PartsLoader;
  readonly reader: ObjectReader;
  readonly run: Run;
};

type Run = ConstructorParameters<typeof PartsLoader>[0];

export function createMemory(run: Run = atOnce): StateMemory {
  return { loader: new PartsLoader(run), reader: new ObjectReader(), run };
}

type Reading = {
  readonly base: Base;
  readonly keys: Keys;
  readonly context: ObjectContext;
  readonly objects: Objects;
  readonly lastValid: Objects;
  readonly reader: ObjectReader;
  /** Those that have got their addresses. */
  readonly listeners: readonly Part[];
};

/** The first version of each object that can be read; brings back deleted ones that others still need. */
function* partsOf(slots: Map<string, Slot>, given: Omit<Reading, 'listeners'>): Work<Part[]> {
  const { objects, lastValid } = given;
  const listeners: Part[] = [];
  const reading = { ...given, listeners };
  const parts = new Map<string, Part>();
  for (const [name, stored] of inOrder(objects, lastValid)) {
    yield;
    const part = (!slots.has(name) && unchangedPart(name, stored, reading)) || partOf(name, slots, reading);
    if (part) parts.set(name, part);
    if (part?.name.kind === 'listeners') listeners.push(part);
  }
  for (const name of slots.keys()) {
    const part = parts.has(name) ? undefined : partOf(name, slots, reading);
    if (part) parts.set(name, part);
  }
  const areGone = [...lastValid.keys()].some((name) => !objects.has(name));
  // What is added while it is iterated over is iterated over, too.
  if (areGone) for (const [name, part] of parts) bringBack(name, part, parts, slots, reading);
  return [...parts.values()];
}

/** A listener may have become one that cannot be bound here. */
function unchangedPart(name: string, stored: Stored, { lastValid, reader }: Reading): Part | undefined {
  const part = lastValid.get(name) === stored ? reader.known(stored) : undefined;
  return part?.name.kind === 'listeners' ? undefined : part;
}

function partOf(name: string, slots: Map<string, Slot>, reading: Reading): Part | undefined {
  const slot = slotOf(name, slots, reading);
  return readSlot(name, slot, reading);
}

function slotOf(
  name: string,
  slots: Map<string, Slot>,
  { objects, lastValid }: Pick<Reading, 'objects' | 'lastValid'>,
): Slot {
  const slot = slots.get(name) ?? createSlot(name, objects.get(name), lastValid.get(name));
  slots.set(name, slot);
  return slot;
}

/** What it refers to, if that was deleted. */
function bringBack(
  name: string,
  part: Part,
  parts: Map<string, Part>,
  slots: Map<string, Slot>,
  reading: Reading,
): void {
  const { objects, lastValid, keys } = reading;
  for (const other of referencesOf(part)) {
    if (objects.has(other) || slots.has(other) || !lastValid.has(other)) continue;
    const key = keys.config + other;
    const slot = slotOf(other, slots, reading);
    slot.faults = [wholeObject(key, 'it was deleted, but others refer to it', `${name} does`)];
    const brought = readSlot(other, slot, reading);
    if (brought) parts.set(other, brought);
  }
}

function readSlot(name: string, slot: Slot, reading: Reading): Part | undefined {
  const { keys, lastValid } = reading;
  const key = keys.config + name;
  while (slot.at < slot.versions.length) {
    const version = slot.versions[slot.at] as Version;
    const found = readVersion(key, slot.name, version, reading);
    if (!('raw' in found)) {
      skip(slot, found);
      continue;
    }
    const earlier = version.as === 'itself' ? lastValid.get(name) : undefined;
    if (earlier === undefined || earlier.text === version.stored.text) return found;
    const before = readVersion(key, slot.name, { stored: earlier, as: 'itself' }, reading);
    if (!('raw' in before) || !isOlder(found, before)) return found;
    skip(slot, [
      wholeObject(key, 'its revocation list is older than the one in use', 'write one that is as new'),
    ]);
  }
  return undefined;
}

function readVersion(
  key: string,
  name: ObjectName | undefined,
  { stored, as }: Version,
  { base, context, reader, listeners }: Reading,
): Part | readonly Finding[] {
  if (name === undefined) return [unknownObject(key)];
  if (isInFile(base, name)) return [nameTaken(base, key)];
  const obstacle = context.obstacle?.(name, stored.text);
  if (obstacle !== undefined) return [wholeObject(key, obstacle)];
  if (as === 'a refusal') return reader.refusal(key, name, stored);
  const part = reader.read(key, name, stored, context);
  const taken = 'raw' in part && name.kind === 'listeners' ? addressesTaken(base, listeners, part) : [];
  return taken.length > 0 ? taken : part;
}

/** False if none of them is an object's. */
function blame(
  findings: readonly Finding[],
  slots: Map<string, Slot>,
  reading: Omit<Reading, 'listeners'>,
): boolean {
  const { keys, objects } = reading;
  const files = new Set(findings.map(({ file }) => file));
  let isBlamed = false;
  for (const file of files) {
    const name = file.startsWith(keys.config) ? file.slice(keys.config.length) : '';
    if (!objects.has(name) && !slots.has(name)) continue;
    skip(
      slotOf(name, slots, reading),
      findings.filter((finding) => finding.file === file),
    );
    isBlamed = true;
  }
  return isBlamed;
}

/**
 * The machine's file is valid alone, so what is found in it comes of some object: of one that is new or
 * changed. False if there are none.
 */
function blameNew(
  findings: readonly Finding[],
  slots: Map<string, Slot>,
  reading: Omit<Reading, 'listeners'>,
): boolean {
  const { objects, lastValid } = reading;
  let isBlamed = false;
  for (const [name, { text }] of objects) {
    const valid = lastValid.get(name)?.text;
    if (text === valid) continue;
    const slot = slotOf(name, slots, reading);
    const version = slot.versions[slot.at];
    if (version === undefined || version.stored.text === valid) continue;
    skip(slot, findings);
    isBlamed = true;
  }
  return isBlamed;
}

function heldIn(slots: ReadonlyMap<string, Slot>): Held[] {
  return [...slots]
    .filter(([, { faults }]) => faults.length > 0)
    .map(([name, { revision, faults, versions, at }]) => {
      const as = versions[at]?.as ?? 'nothing';
      return {
        name,
        revision,
        findings: faults,
        faults: faults.map(formatFinding),
        serving: as === 'itself' ? 'its earlier version' : as,
      };
    });
}

/** A refusal is no version of an object: the last valid one stays known. */
function validIn(slots: ReadonlyMap<string, Slot>, objects: Objects, before: Objects): Objects {
  const valid = new Map(objects);
  for (const [name, { versions, at }] of slots) {
    const version = versions[at];
    const stored = version === undefined || version.as === 'a refusal' ? before.get(name) : version.stored;
    if (stored) valid.set(name, stored);
    else valid.delete(name);
  }
  return valid;
}

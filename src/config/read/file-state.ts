/** What the file system says of a file: whoever writes or replaces it changes some of this. */
import { type Stats, statSync } from 'node:fs';
import { orElse } from '../../process/or-else.ts';

/**
 * Device, inode, size, times of modification and of change (ms since 1970) and mode. Six times -1 if there is
 * no such file, or it cannot be looked at.
 */
export type FileState = readonly number[];

const width = 6;

/** Those of several files, one behind the other, in memory shared between threads. */
export type FileStates = Float64Array<SharedArrayBuffer>;

const changedAt = 4;
const modeAt = 5;
const missing: FileState = Array.from({ length: width }, () => -1);

export function stateOf(found: Stats | undefined): FileState {
  if (found === undefined) return missing;
  // The modification time can be set back (`cp -p`), but the inode's change time cannot.
  const { dev, ino, size, mtimeMs, ctimeMs, mode } = found;
  return [dev, ino, size, mtimeMs, ctimeMs, mode];
}

/** Waits for the file system. */
export function stateNow(file: string): FileState {
  // It throws for whatever else may be wrong with a path.
  return stateOf(orElse(undefined, () => statSync(file, { throwIfNoEntry: false })));
}

export function emptyStates(count: number): FileStates {
  return new Float64Array(new SharedArrayBuffer(count * width * Float64Array.BYTES_PER_ELEMENT));
}

export function writeStates(count: number, stateAt: (at: number) => FileState): FileStates {
  const states = emptyStates(count);
  for (let at = 0; at < count; at += 1) states.set(stateAt(at), at * width);
  return states;
}

/** Without making an object of it: there may be twenty thousand. */
export function copyState(from: FileStates, place: number, to: FileStates, at: number): void {
  for (let part = 0; part < width; part += 1) to[at * width + part] = from[place * width + part] ?? -1;
}

export function readState(states: FileStates, at: number): FileState {
  const state: number[] = [];
  for (let place = at * width; place < (at + 1) * width; place += 1) state.push(states[place] ?? -1);
  return state;
}

export function isStateAt(states: FileStates, at: number, state: FileState): boolean {
  for (let place = 0; place < width; place += 1)
    if (states[at * width + place] !== state[place]) return false;
  return true;
}

export function areSameStates(some: FileStates, others: FileStates): boolean {
  if (some.length !== others.length) return false;
  for (let at = 0; at < some.length; at += 1) if (some[at] !== others[at]) return false;
  return true;
}

/** What was seen of files shortly before they are read. */
export type Looked = {
  /** undefined: it was not looked at. */
  readonly stateOf: (file: string) => FileState | undefined;
  /** The same as a question: thousands are asked it for each reload. */
  readonly isAs: (file: string, state: FileState) => boolean | undefined;
  /** When the first of them was looked at, in ms since 1970. */
  readonly at: number;
};

export function isSameState(one: FileState, other: FileState): boolean {
  for (let at = 0; at < width; at += 1) if (one[at] !== other[at]) return false;
  return true;
}

/** Not a directory, a pipe or a device: reading it ends. */
export function isRegular(state: FileState): boolean {
  const mode = state[modeAt] ?? -1;
  return mode !== -1 && (mode & 0o170000) === 0o100000;
}

export function isForOthers(state: FileState): boolean {
  const mode = state[modeAt] ?? -1;
  return mode !== -1 && (mode & 0o004) !== 0;
}

/** In ms since 1970. */
export function lastChange(state: FileState): number {
  return state[changedAt] ?? -1;
}

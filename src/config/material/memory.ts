/**
 * Remembers certificates and authorities that were read and checked, as long as their files are those that
 * were read, and no date has come that matters.
 */
import { createHash } from 'node:crypto';
import type { Path, Report } from '../finding.ts';
import { type FileState, isRegular, isSameState, lastChange } from '../read/file-state.ts';
import type { Files } from '../read/files.ts';

/** What is to be loaded: its name, such as `certificates.orders`, and its settings, which name the files. */
export type Material = {
  readonly name: string;
  readonly settings: unknown;
  readonly named: readonly string[];
};

export type MaterialMemory = {
  /** What `load` made before, if nothing has changed. Reports the same warnings as then. */
  readonly load: <T>(
    material: Material,
    files: Files,
    report: Report,
    load: (report: Report) => Promise<T>,
  ) => Promise<T>;
  /**
   * Whether it has to be read again though its settings are the same, with those contents that are not on
   * disk, or was read since for a configuration that was refused. `value` is what is served.
   */
  readonly isStale: (name: string, files: Files, value: unknown) => boolean;
};

type Warning = readonly [path: Path, message: string, hint: string | undefined];
/** On disk, or a digest of what is not. */
type State = FileState | string;
type Known = {
  readonly settings: string;
  readonly named: readonly string[];
  readonly states: readonly State[];
  /** What was found holds until then, in ms since 1970. */
  readonly until: number;
  readonly value: unknown;
  readonly warnings: readonly Warning[];
};

/** `now` is the time in ms since 1970. */
export function createMaterialMemory(now: () => number = Date.now): MaterialMemory {
  const known = new Map<string, Known>();
  return {
    isStale(name, files, value) {
      const before = known.get(name);
      if (before === undefined || before.value !== value || now() >= before.until) return true;
      const { named, states } = before;
      for (let at = 0; at < named.length; at += 1) {
        const file = named[at] ?? '';
        const state = states[at];
        if (files.held(file) !== undefined) continue;
        if (typeof state !== 'object' || !files.isAs(file, state)) return true;
      }
      return false;
    },
    async load<T>(
      { name, settings, named }: Material,
      files: Files,
      report: Report,
      load: (report: Report) => Promise<T>,
    ) {
      const text = JSON.stringify(settings);
      const states = named.map((file) => stateOf(file, files, now()));
      const before = known.get(name);
      const isAsBefore =
        before?.settings === text && states.every((state, at) => isSame(state, before.states[at]));
      if (before !== undefined && isAsBefore && now() < before.until) {
        for (const file of named) if (files.held(file) === undefined) files.note(file);
        for (const warning of before.warnings) report.warn(...warning);
        return before.value as T;
      }
      known.delete(name);
      const found = watched(report);
      const value = await load(found.report);
      const isKnown = !found.isFaulty() && states.every((state) => state !== undefined);
      if (isKnown)
        known.set(name, {
          settings: text,
          named,
          states: states as readonly State[], // `isKnown` says so
          until: found.until(),
          value,
          warnings: found.warnings,
        });
      return value;
    },
  };
}

/** A report that notes what it gets, and passes it on. */
function watched(report: Report) {
  const warnings: Warning[] = [];
  let isFaulty = false;
  let until = Number.POSITIVE_INFINITY;
  const own: Report = {
    fault(...fault) {
      isFaulty = true;
      report.fault(...fault);
    },
    lack(...lack) {
      isFaulty = true;
      report.lack(...lack);
    },
    warn(path, message, hint) {
      warnings.push([path, message, hint]);
      report.warn(path, message, hint);
    },
    holdsUntil(time) {
      until = Math.min(until, time);
    },
  };
  return { report: own, warnings, isFaulty: () => isFaulty, until: () => until };
}

function isSame(now: State | undefined, before: State | undefined): boolean {
  if (now === undefined || before === undefined) return false;
  if (typeof now === 'string' || typeof before === 'string') return now === before;
  return isSameState(now, before);
}

/** Differs whenever the file must be read again; undefined: do not remember it. */
function stateOf(file: string, files: Files, now: number): State | undefined {
  const held = files.held(file);
  if (held !== undefined) return createHash('sha256').update(held).digest('base64');
  const state = files.look(file);
  const isSafe = Math.min(now, files.lookedAt ?? now) - lastChange(state) >= unsafeMs;
  return isRegular(state) && isSafe ? state : undefined;
}

/** A file that changed just now may change again without its times showing it. */
const unsafeMs = 2000;

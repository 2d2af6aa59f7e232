/** Where in the code something happens, in few words. */
import { resolve } from 'node:path';

const checkout = resolve(import.meta.dirname, '../..');
/** Innermost frames that are kept. */
const kept = 4;
const depth = 40;

/** The innermost frames, and the innermost one of the program's own. */
export function stackHere(): string {
  const holder: { stack: string } = { stack: '' };
  const usual = Error.stackTraceLimit;
  Error.stackTraceLimit = depth;
  Error.captureStackTrace(holder, stackHere);
  Error.stackTraceLimit = usual;
  const frames = holder.stack.split('\n').slice(1).filter(isOfProgram).map(shortened);
  return abridged(frames);
}

/** `frames` from the innermost on. */
export function abridged(frames: readonly string[]): string {
  const own = ownOf(frames);
  const inner = frames.slice(0, kept);
  return [...inner, ...(own === undefined || inner.includes(own) ? [] : ['…', own])].join(' < ');
}

/** The innermost of the program's own frames: those of a file. Undefined if all are Node's or V8's. */
export function ownOf(frames: readonly string[]): string | undefined {
  return frames.find((frame) => !frame.includes('node:') && frame.includes('/'));
}

/** `name (file:line)`, the file relative to the checkout. */
export function frameOf(name: string, url: string, line: number): string {
  const place = url.replace('file://', '').replace(`${checkout}/`, '');
  return place === '' ? name || '(V8)' : `${name || '(anonymous)'} (${place}:${line})`;
}

function isOfProgram(frame: string): boolean {
  return !/bench\/path|node:internal\/(?:async_hooks|promise_hooks)/.test(frame);
}

function shortened(frame: string): string {
  const [, name = '', url = frame.trim(), line = '0'] =
    /^\s*at (?:(.*) \()?(?:async )?(.*?):(\d+):\d+\)?$/.exec(frame) ?? [];
  return frameOf(name, url, Number(line));
}

/** Runs the load in this process alone, or in several. */
import { type ChildProcess, fork } from 'node:child_process';
import { forkable } from '../../process/own-files.ts';
import type { Plan } from './engine/plan.ts';
import type { Progress } from './engine/run.ts';
import type { ProcessResult } from './engine/tally.ts';
import type { FromChild, ToChild } from './messages.ts';
import { composeRun } from './process-plan.ts';

export type Generator = {
  /** Resolves when all are ready, with what went wrong meanwhile. */
  readonly prepare: () => Promise<readonly string[]>;
  readonly start: () => Promise<ProcessResult[]>;
  readonly stop: () => void;
  readonly progress: () => Progress;
};

/** A single plan runs in this process, several run in one process each. */
export function createGenerator(plans: readonly Plan[]): Generator {
  const [only, ...others] = plans;
  if (only === undefined || others.length > 0) return forkAll(plans);
  const run = composeRun(only);
  return { ...run, start: async () => [await run.start()] };
}

function forkAll(plans: readonly Plan[]): Generator {
  const children = plans.map((plan) => forkOne(plan));
  return {
    async prepare() {
      const notes = await Promise.all(children.map(({ ready }) => ready));
      return [...new Set(notes.flat())];
    },
    start() {
      for (const { tell } of children) tell({ kind: 'start' });
      return Promise.all(children.map(({ result }) => result));
    },
    stop() {
      for (const { tell } of children) tell({ kind: 'stop' });
    },
    progress: () =>
      children.reduce<Progress>((sum, { progress }) => addProgress(sum, progress()), {
        connections: 0,
        errors: 0,
        open: 0,
      }),
  };
}

type Child = {
  readonly tell: (message: ToChild) => void;
  readonly ready: Promise<readonly string[]>;
  readonly result: Promise<ProcessResult>;
  readonly progress: () => Progress;
};

function forkOne(plan: Plan): Child {
  const { program, execArgv } = forkable('load-process', process.execArgv);
  // JSON cannot carry Infinity and bytes.
  const child = fork(program, [], { execArgv: [...execArgv], serialization: 'advanced' });
  let progress: Progress = { connections: 0, errors: 0, open: 0 };
  child.on('message', (message: FromChild) => {
    if (message.kind === 'progress') progress = message.progress;
  });
  const tell = (message: ToChild) => void (child.connected && child.send(message));
  tell({ kind: 'plan', plan });
  const ready = heard(child, 'ready').then(({ notes }) => notes);
  const result = heard(child, 'result').then(({ result }) => {
    child.disconnect();
    return result;
  });
  // Whoever awaits them gets the error.
  for (const promise of [ready, result]) promise.catch(() => {});
  return { tell, ready, result, progress: () => progress };
}

function heard<Kind extends FromChild['kind']>(
  child: ChildProcess,
  kind: Kind,
): Promise<Extract<FromChild, { kind: Kind }>> {
  return new Promise((resolve, reject) => {
    child.on('message', (message: FromChild) => {
      if (message.kind === kind) resolve(message as Extract<FromChild, { kind: Kind }>);
    });
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new Error(`a load process ended (${signal ?? `exit code ${code}`})`)),
    );
  });
}

function addProgress(one: Progress, other: Progress): Progress {
  return {
    connections: one.connections + other.connections,
    errors: one.errors + other.errors,
    open: one.open + other.open,
  };
}

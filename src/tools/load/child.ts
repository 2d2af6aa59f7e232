/**
 * The program of one of several load processes: receives its plan, prepares, starts with the others, and
 * sends its results.
 */
import { leaveSignals } from '../../process/no-inspector.ts';
import '../../process/garbage-collector.ts';

import type { Run } from './engine/run.ts';
import type { FromChild, ToChild } from './messages.ts';
import { composeRun } from './process-plan.ts';

const progressMs = 200;
let run: Run | undefined;

leaveSignals();
// Ctrl-C reaches the whole process group, and the parent decides.
process.on('SIGINT', () => {}).on('SIGTERM', () => {});
process.on('disconnect', () => {
  process.exitCode = 1;
  run?.stop();
});
process.on('message', (message: ToChild) => {
  if (message.kind === 'plan') void prepare(message);
  else if (message.kind === 'start') void start();
  else run?.stop();
});

async function prepare({ plan }: Extract<ToChild, { kind: 'plan' }>): Promise<void> {
  run = composeRun(plan);
  tell({ kind: 'ready', notes: await run.prepare() });
}

async function start(): Promise<void> {
  if (!run) return;
  const { progress } = run;
  const timer = setInterval(() => tell({ kind: 'progress', progress: progress() }), progressMs);
  const result = await run.start();
  clearInterval(timer);
  tell({ kind: 'result', result });
}

function tell(message: FromChild): void {
  if (process.connected) process.send?.(message);
}

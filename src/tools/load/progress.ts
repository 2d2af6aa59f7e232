/** A progress bar on stderr, for people. */
import type { Plan } from './engine/plan.ts';
import type { Progress } from './engine/run.ts';

const periodMs = 200;
const barWidth = 24;

/** Draws until the returned function is called, which erases it. Times are those of the plans. */
export function drawProgress(plans: readonly Plan[], progress: () => Progress): () => void {
  const began = performance.now();
  const wanted = plans.reduce((sum, { connections }) => sum + connections, 0);
  const { warmupMs = 0, durationMs = Number.POSITIVE_INFINITY } = plans[0] ?? {};
  let last = { at: began, connections: 0 };
  const timer = setInterval(() => {
    const now = performance.now();
    const { connections, errors, open } = progress();
    const elapsed = now - began - warmupMs;
    const rate = Math.max(0, ((connections - last.connections) * 1000) / (now - last.at));
    last = { at: now, connections };
    const done = Math.min(1, Math.max(elapsed / durationMs, (connections + errors) / wanted, 0));
    const filled = Math.round(done * barWidth);
    const bar = `${'#'.repeat(filled)}${'.'.repeat(barWidth - filled)}`;
    const what = elapsed < 0 ? 'warming up' : `${Math.floor(done * 100)}%`.padStart(4);
    const line = `[${bar}] ${what}  ${connections} done  ${Math.round(rate)}/s  ${open} open  ${errors} errors`;
    process.stderr.write(`\r${line.slice(0, (process.stderr.columns ?? 80) - 1)}\x1b[K`);
  }, periodMs);
  return () => {
    clearInterval(timer);
    process.stderr.write('\r\x1b[K');
  };
}

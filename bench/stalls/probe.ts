/** Loaded into each process of a penstock (`--import`): notes the long turns of its event loop, and what V8 collected meanwhile. */
import cluster from 'node:cluster';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, PerformanceObserver } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';
import type { Collection, Turn } from './turns.ts';

const noted = 3;
const kinds = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weak callbacks'],
]);

if (isMainThread) watch();

function watch(): void {
  const directory = process.env['STALLS'];
  if (directory === undefined) throw new Error('STALLS names the directory to write to');
  const role = cluster.isWorker ? 'worker' : 'supervisor';
  let collections: Collection[] = [];
  const take = (entries: readonly PerformanceEntry[]) => {
    for (const entry of entries) {
      const { startTime, duration } = entry;
      const { kind } = (entry as PerformanceEntry & { detail: { kind: number } }).detail;
      collections.push({ kind: kinds.get(kind) ?? String(kind), at: startTime, ms: duration });
    }
  };
  const observer = new PerformanceObserver((list) => take(list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  let [wall, cpu] = [performance.now(), cpuOfThread()];
  setInterval(() => {
    const [wallNow, cpuNow] = [performance.now(), cpuOfThread()];
    take(observer.takeRecords());
    const turn = { wall: wallNow - wall, cpu: cpuNow - cpu };
    if (Math.min(turn.wall, turn.cpu) > noted) {
      const own = collections.filter(({ at }) => at >= wall);
      const line: Turn = { role, at: Date.now(), ...turn, collections: own };
      appendFileSync(join(directory, 'turns'), `${JSON.stringify(line)}\n`);
    }
    collections = [];
    [wall, cpu] = [performance.now(), cpuOfThread()];
  }, 1).unref();
}

function cpuOfThread(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

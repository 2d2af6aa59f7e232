/** The load of one process: warm-up, then connections by concurrency or by the clock, then the end. */
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { LiveSet } from '../../../net/live-set.ts';
import { runConnection } from './connection.ts';
import { type Engine, fail, type Link, type Preamble, release } from './link.ts';
import type { Exchange, Pace, Plan } from './plan.ts';
import { count, createFlow, createTally, type Flow, type ProcessResult } from './tally.ts';
import { createTlsClient, type TlsClient } from './tls.ts';

export type Run = {
  /** Gets a session for each name if the plan resumes. Resolves with what went wrong, one line each. */
  readonly prepare: () => Promise<readonly string[]>;
  readonly start: () => Promise<ProcessResult>;
  /** Ends the load now; `start` then resolves with the results so far. */
  readonly stop: () => void;
  readonly progress: () => Progress;
};

/** Since the end of the warm-up. */
export type Progress = { readonly connections: number; readonly errors: number; readonly open: number };

/** Throws what `createSecureContext` throws. */
export function createRun(plan: Plan, preamble: Preamble): Run {
  const tls = plan.tls && createTlsClient(plan.tls);
  const engine = createEngine(plan, preamble, tls);
  const unlimited = Number.POSITIVE_INFINITY;
  let interrupt = () => {};
  const interrupted = new Promise<'interrupted'>((resolve) => {
    interrupt = () => resolve('interrupted');
  });
  return {
    prepare: () => primeSessions(engine),
    stop: interrupt,
    progress: () => ({
      connections: engine.tally.connections,
      errors: sumOf(engine.tally.errors),
      open: engine.links.size,
    }),
    async start() {
      const sweep = sweepTimeouts(engine);
      const limits = { begun: 0, connections: unlimited, from: performance.now(), until: unlimited };
      const result = await measure(engine, limits, interrupted);
      clearInterval(sweep);
      return { ...result, certificate: tls?.certificate() };
    },
  };
}

/** `from` and `until` are from `performance.now()`, for arrivals by the clock. */
type Limits = { begun: number; connections: number; from: number; until: number };

async function measure(engine: Engine, limits: Limits, interrupted: Promise<'interrupted'>) {
  const { plan } = engine;
  const run = () => (plan.pace.kind === 'closed' ? runClosed(engine, limits) : runOpen(engine, limits));
  const warm = plan.warmupMs > 0 ? run() : undefined;
  if (warm) await Promise.race([pause(plan.warmupMs), interrupted]);
  const tally = createTally();
  engine.tally = tally;
  const begin = mark(engine);
  const until = begin.at + plan.durationMs;
  Object.assign(limits, { begun: 0, connections: plan.connections, from: begin.at, until });
  const running = warm ?? run();
  const timer = timeOut(plan.durationMs);
  const how = await Promise.race([running, timer.up, interrupted]);
  clearTimeout(timer.handle);
  const window = since(begin, engine);
  if (how === 'interrupted') limits.until = 0;
  wrapUp(engine, how === 'interrupted');
  void interrupted.then(() => wrapUp(engine, true));
  await running;
  return { tally, ...window, total: since(begin, engine).flow };
}

/** Each slot runs one connection after another. */
async function runClosed(engine: Engine, limits: Limits): Promise<void> {
  const { pace } = engine.plan;
  const concurrency = pace.kind === 'closed' ? pace.concurrency : 0;
  const slots: Promise<void>[] = [];
  const isMore = () => !engine.stopping && limits.begun < limits.connections;
  while (slots.length < concurrency && isMore()) {
    // Starting all at once would overflow the server's queue, and lost connection requests are only repeated
    // after a second.
    if (engine.settingUp >= 100) await pause(1);
    else slots.push(runSlot(engine, limits, isMore));
  }
  await Promise.all(slots);
}

async function runSlot(engine: Engine, limits: Limits, isMore: () => boolean): Promise<void> {
  while (isMore()) {
    limits.begun++;
    const fault = await runConnection(engine, performance.now());
    // Ten thousand refusals a second would be of no use.
    if (fault !== undefined) await pause(10);
  }
}

/**
 * Connections arrive by the clock. Each keeps its intended start, even if this process was too busy to begin
 * it then, so that waiting counts. (Otherwise a server that stalls for a second would affect only the few
 * latencies of open connections.)
 */
async function runOpen(engine: Engine, limits: Limits): Promise<void> {
  const { pace } = engine.plan;
  if (pace.kind !== 'open') return;
  const gapMs = 1000 / pace.perSecond;
  const origin = limits.from + pace.offsetMs;
  for (let arrival = 0; limits.begun < limits.connections; ) {
    const start = origin + arrival * gapMs;
    if (start >= limits.until) break;
    const early = start - performance.now();
    if (early > 0) {
      await pause(Math.min(early, 100));
      continue;
    }
    arrival++;
    limits.begun++;
    if (engine.links.size >= pace.maxOpen) count(engine.tally.errors, 'max_open');
    else void runConnection(engine, start);
  }
  while (engine.links.size > 0) await pause(2);
}

/**
 * When time is up, closes idle connections and cuts bulk; others in progress end by themselves or, with
 * `all`, are cut too.
 */
function wrapUp(engine: Engine, all: boolean): void {
  engine.stopping = true;
  const { kind } = engine.plan.exchange;
  const cut = all || kind === 'up' || kind === 'down';
  for (const link of engine.links.all()) {
    if (link.wait === 'hold') release(link);
    else if (cut && link.wait !== 'close') fail(link, 'unfinished');
  }
}

/** Makes one short connection for each name, otherwise like the later ones. */
async function primeSessions(engine: Engine): Promise<readonly string[]> {
  const { plan, tls } = engine;
  if (!plan.tls?.resume || !tls) return [];
  const { exchange } = plan;
  const short: Exchange = exchange.kind === 'messages' ? { ...exchange, rounds: 1 } : { kind: 'none' };
  const names = Math.max(1, plan.tls.names.length);
  const pace: Pace = { kind: 'closed', concurrency: Math.min(10, names) };
  const primer = createEngine(
    { ...plan, exchange: short, holdMs: 0, close: 'fin', pace },
    engine.preamble,
    tls,
  );
  const sweep = sweepTimeouts(primer);
  await runClosed(primer, { begun: 0, connections: names, from: 0, until: 0 });
  clearInterval(sweep);
  const missing = names - tls.sessions();
  if (missing === 0) return [];
  const why = [...primer.tally.errors.keys()].join(', ');
  return [`no session to resume for ${missing} of ${names} names${why && ` (${why})`}`];
}

function createEngine(plan: Plan, preamble: Preamble, tls: TlsClient | undefined): Engine {
  const links = new LiveSet<Link>();
  const nextPayload = createPayloads(plan);
  const state = { tally: createTally(), tick: 0, stopping: false, settingUp: 0 };
  return { plan, preamble, tls, links, flow: createFlow(), nextPayload, ...state };
}

/**
 * Random bytes, from a different offset for each message, so that the echo of another connection is detected.
 */
function createPayloads({ exchange }: Plan): () => Buffer {
  if (exchange.kind !== 'messages') return () => Buffer.alloc(0);
  const { payload } = exchange;
  if ('bytes' in payload) {
    const bytes = Buffer.from(payload.bytes);
    return () => bytes;
  }
  const places = 4096;
  const pool = randomBytes(payload.size + places);
  let turn = 0;
  return () => {
    const at = (turn++ * 61) % places;
    return pool.subarray(at, at + payload.size);
  };
}

const ticksOfTimeout = 10;

/** One timer for all connections, instead of one each. */
function sweepTimeouts(engine: Engine): NodeJS.Timeout {
  return setInterval(
    () => {
      engine.tick++;
      for (const link of engine.links.all()) {
        if (engine.tick - link.tick > ticksOfTimeout) fail(link, 'timeout');
      }
    },
    Math.max(1, engine.plan.timeoutMs / ticksOfTimeout),
  );
}

type Mark = { readonly at: number; readonly cpu: NodeJS.CpuUsage; readonly flow: Flow };

function mark(engine: Engine): Mark {
  return { at: performance.now(), cpu: process.cpuUsage(), flow: { ...engine.flow } };
}

function since(begin: Mark, engine: Engine): { flow: Flow; windowMs: number; cpuMs: number } {
  const flow = { ...engine.flow };
  for (const key of Object.keys(flow) as (keyof Flow)[]) flow[key] -= begin.flow[key];
  const { user, system } = process.cpuUsage(begin.cpu);
  return { flow, windowMs: performance.now() - begin.at, cpuMs: (user + system) / 1000 };
}

/** Never fires for Infinity. */
function timeOut(ms: number): { readonly up: Promise<'time'>; readonly handle: NodeJS.Timeout | undefined } {
  if (ms === Number.POSITIVE_INFINITY) return { up: new Promise(() => {}), handle: undefined };
  let handle: NodeJS.Timeout | undefined;
  const up = new Promise<'time'>((resolve) => {
    handle = setTimeout(() => resolve('time'), ms);
  });
  return { up, handle };
}

function sumOf(counts: ReadonlyMap<string, number>): number {
  let sum = 0;
  for (const number of counts.values()) sum += number;
  return sum;
}

/** `penstock demo`: shows penstock at work on one machine with one command. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatFinding } from '../../config/load.ts';
import { loadConfig } from '../../config/sources/file.ts';
import { type Standalone, startWorker } from '../../worker/standalone.ts';
import { describeStartFaults } from '../../worker/start-faults.ts';
import type { Surroundings } from './checks.ts';
import { demoConfig, type Listeners } from './config.ts';
import { openDemoLog } from './log.ts';
import { modesOf } from './modes.ts';
import { startMysql } from './mysql.ts';
import { openPki } from './pki.ts';
import { freePort } from './ports.ts';
import * as report from './report.ts';
import { startUpstreams } from './upstreams.ts';

/**
 * `exit`: stop after the first connections. `port`: the first of its ports. `mysql`: start MariaDB, if it is
 * there.
 */
type DemoOptions = { readonly exit?: boolean; readonly port: number; readonly mysql: boolean };

const directory = '.penstock-demo';

/** The ports of the listeners, unless they are taken. */
function preferredPorts(first: number): Listeners {
  return {
    terminate: first,
    mutual_tls: first + 1,
    pinned: first + 2,
    passthrough: first + 3,
    rewrap: first + 4,
    postgres: first + 5,
    mysql: first + 6,
  };
}

/**
 * Serves, with its own PKI and upstreams, until SIGINT or SIGTERM. Resolves with the exit code: 0, or 1 if it
 * could not start or, with `exit`, if one of the first connections failed.
 */
export async function demo(options: DemoOptions): Promise<number> {
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => resolve());
  });
  try {
    const { worker, around, graceMs } = await start(options);
    const ok = await tryAll(around);
    around.log.forget();
    report.conclusion(ok, modesOf(around.upstreams).length, directory, options.exit === true);
    if (!options.exit) await stopped;
    await worker.drain(graceMs);
    await around.upstreams.mysql?.stop();
    return ok || !options.exit ? 0 : 1;
  } catch (error) {
    for (const fault of describeStartFaults(error)) process.stderr.write(`penstock: ${fault}\n`);
    return 1;
  }
}

type Running = { readonly worker: Standalone; readonly around: Surroundings; readonly graceMs: number };

/** Does what `run` does, and makes everything that `run` is normally given. */
async function start({ port: firstPort, mysql }: DemoOptions): Promise<Running> {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o700);
  // Keys do not belong in a repository.
  writeFileSync(join(directory, '.gitignore'), '*\n');
  const { pki, reused } = await openPki(directory);
  const toys = await startUpstreams(pki, firstPort + 10);
  const upstreams = { ...toys, mysql: mysql ? await startMysql(directory) : undefined };
  const preferred = preferredPorts(firstPort);
  const listeners = await choosePorts(preferred);
  const file = join(directory, 'penstock.yaml');
  writeFileSync(file, demoConfig(listeners, upstreams, pki));
  const loaded = await loadConfig(file);
  const log = openDemoLog(loaded.config.log.destination);
  report.opening(directory, reused, modesOf(upstreams).length, movedPorts(preferred, listeners));
  for (const warning of loaded.warnings) log.logger.warn(formatFinding(warning));
  const worker = await startWorker(loaded, log.logger);
  return { worker, around: { listeners, upstreams, pki, log }, graceMs: loaded.config.shutdown.grace };
}

async function choosePorts(preferred: Listeners): Promise<Listeners> {
  const chosen: Record<string, number> = {};
  for (const [listener, port] of Object.entries(preferred)) chosen[listener] = await freePort(port);
  return { ...preferred, ...chosen };
}

/** The ports that were already taken. */
function movedPorts(preferred: Listeners, listeners: Listeners): number[] {
  return Object.entries(preferred).flatMap(([listener, port]) =>
    listeners[listener as keyof Listeners] === port ? [] : [port],
  );
}

/** Tries one mode after another, so that the output follows the events. */
async function tryAll(around: Surroundings): Promise<boolean> {
  let ok = true;
  for (const [index, mode] of modesOf(around.upstreams).entries()) {
    const checks = await mode.check(around);
    ok = ok && checks.every((check) => check.ok);
    const commands = [mode, ...(mode.refusal ? [mode.refusal] : [])].map(({ command, shows }) => ({
      text: command(around, directory),
      shows,
    }));
    report.modeTried(index + 1, mode, around.listeners[mode.listener], checks, commands);
  }
  return ok;
}

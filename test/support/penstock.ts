/** `penstock run` in a process of its own: for signals, exit codes, and what it writes where. */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { temporaryDirectory, writeFiles } from './certificates.ts';
import type { LogLine } from './proxy.ts';

export type Penstock = {
  readonly child: ChildProcess;
  readonly directory: string;
  /** The port of a listener's first address, from the `ready` line. */
  readonly port: (listener: string) => number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** What it has logged to stdout so far. */
  readonly log: () => LogLine[];
  /** Its exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals | null>;
};

export type PenstockOptions = {
  /** Written beside the configuration. */
  readonly files?: Readonly<Record<string, string | Buffer>>;
  /** Made beside it, too. */
  readonly directories?: readonly string[];
  /** The directory is the current one of the process. */
  readonly inside?: boolean;
  /** `ulimit -n`. */
  readonly openFiles?: number;
  /** `ulimit -S -f`, in KiB: no file can be written beyond it. */
  readonly fileSize?: number;
  /** A command that becomes it, with other rights, say. */
  readonly wrapper?: readonly string[];
  /** File permissions hold for it although root starts it. */
  readonly unprivileged?: boolean;
  /** For Node. */
  readonly flags?: readonly string[];
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Listening sockets that it is handed as systemd would, by name. */
  readonly sockets?: readonly { readonly name: string; readonly fd: number }[];
};

/** Starts it and waits until it is ready. It is killed after the test. */
export async function startPenstock(
  t: Pick<TestContext, 'after'>,
  config: object,
  options: PenstockOptions = {},
): Promise<Penstock> {
  const penstock = spawnPenstock(t, config, options);
  await isReady(penstock);
  return penstock;
}

/** Starts it; what becomes of it is for the test to see. */
export function spawnPenstock(
  t: Pick<TestContext, 'after'>,
  config: object | string,
  {
    files = {},
    directories = [],
    inside = false,
    wrapper = [],
    flags = [],
    openFiles,
    fileSize,
    unprivileged = false,
    env,
    sockets = [],
  }: PenstockOptions = {},
): Penstock {
  let child: ChildProcessWithoutNullStreams | undefined;
  // Before the directory is removed: hooks run in the order in which they were added.
  t.after(() => child?.kill('SIGKILL'));
  const directory = temporaryDirectory(t);
  for (const name of directories) mkdirSync(join(directory, name));
  writeFiles(directory, {
    ...files,
    'penstock.yaml': typeof config === 'string' ? config : stringify(config),
  });
  const limits = [
    openFiles === undefined ? '' : `ulimit -n ${openFiles};`,
    // In sectors.
    fileSize === undefined ? '' : `ulimit -S -f ${fileSize * 2};`,
  ].join(' ');
  const activation = {
    LISTEN_FDS: String(sockets.length),
    LISTEN_FDNAMES: sockets.map(({ name }) => name).join(':'),
  };
  const asOthers = unprivileged && process.getuid?.() === 0 ? withoutOverride : [];
  const command = [
    ...asOthers,
    ...wrapper,
    process.execPath,
    ...flags,
    penstockMain,
    'run',
    '-c',
    `${directory}/penstock.yaml`,
  ];
  child = spawn(
    '/bin/sh',
    ['-c', `ulimit -c 0; ${limits} export LISTEN_PID=$$; exec "$@"`, 'sh', ...command],
    {
      ...(inside && { cwd: directory }),
      env: { ...process.env, ...env, ...(sockets.length > 0 ? activation : {}) },
      stdio: ['pipe', 'pipe', 'pipe', ...sockets.map(({ fd }) => fd)],
    },
  ) as ChildProcessWithoutNullStreams;
  return penstockOf(child, directory);
}

/** A process that was started as `penstock run`. */
export function penstockOf(child: ChildProcessWithoutNullStreams, directory: string): Penstock {
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const log = () =>
    stdout
      .split('\n')
      .slice(0, -1)
      .map((line): LogLine => JSON.parse(line));
  return {
    child,
    directory,
    log,
    stdout: () => stdout,
    stderr: () => stderr,
    // 'close' comes when all that it wrote was read.
    exited: once(child, 'close').then(([code, signal]) => code ?? signal),
    port(listener) {
      const ready = log().find(({ msg }) => msg === 'ready');
      const bound = (ready?.['listeners'] as Record<string, string[]> | undefined)?.[listener]?.[0];
      return Number(bound?.split(':').at(-1));
    },
  };
}

/** Waits for its `ready` line; rejects, with what it said, if it ends instead. */
export async function isReady(penstock: Penstock): Promise<void> {
  let over = false;
  void penstock.exited.then(() => {
    over = true;
  });
  while (!penstock.stdout().includes('"msg":"ready"')) {
    if (over) throw new Error(`it ended: ${penstock.stdout()}${penstock.stderr()}`);
    await Promise.race([penstock.exited, once(penstock.child.stdout!, 'data')]); // piped, so it is there
  }
}

/** Root without the capability to write where permissions forbid it (capabilities(7)). */
const withoutOverride = ['setpriv', '--bounding-set=-dac_override', '--inh-caps=-dac_override', '--'];

/** The command line. */
export const penstockMain: string = resolve(import.meta.dirname, '../../src/main.ts');

/** Real programs as child processes: clients that run to their end, and servers that live as long as a test. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import type { TestContext } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { commandLine } from './programs.ts';

export type Finished = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** A program that is under way. `output()` is all that it has said so far, on stdout and stderr, in that order. */
export type Running = {
  readonly child: ChildProcess;
  readonly stdout: () => string;
  readonly output: () => string;
  readonly finished: Promise<Finished>;
};

export type RunOptions = {
  /** Its whole standard input; without it, there is none. */
  readonly input?: string | Buffer;
  /** Leaves it open behind `input`: for programs that end with it. */
  readonly moreInput?: boolean;
  /** Besides PATH: the environment of whoever runs the tests (PGPASSWORD, proxies, languages) is not passed on. */
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: User | undefined;
  readonly cwd?: string | undefined;
};

export type User = { readonly uid: number; readonly gid: number };

/** Far more than anything here takes: a hanging program is a failure and not a hanging test run. */
const patience = 300_000;

/** Starts a program; it is killed if it is still there when this process exits. */
export function launch(name: string, args: readonly string[], options: RunOptions = {}): Running {
  const [path, ...first] = commandLine(name);
  const child = spawn(path, [...first, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { PATH: process.env['PATH'], LC_ALL: 'C', HOME: '/nonexistent', ...options.env },
    timeout: patience,
    ...options.user,
  });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  // Programs may end before they have read all.
  child.stdin.on('error', () => {});
  if (options.moreInput) child.stdin.write(options.input ?? '');
  else child.stdin.end(options.input);
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      process.off('exit', kill);
      resolve({ code, stdout: stdout(), stderr: stderr() });
    });
  });
  return { child, stdout, output: () => stdout() + stderr(), finished };
}

/** Runs a program to its end. */
export function run(name: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return launch(name, args, options).finished;
}

/** Starts a server, waits until `ready` holds, and ends it after the test by `signal`. */
export async function serve(
  t: Pick<TestContext, 'after'>,
  name: string,
  args: readonly string[],
  options: RunOptions & { ready: (output: string) => void | Promise<void>; signal?: NodeJS.Signals },
): Promise<Running> {
  const server = launch(name, args, options);
  t.after(async () => {
    server.child.kill(options.signal ?? 'SIGTERM');
    await server.finished;
  });
  const ended = server.finished.then(({ code }) => {
    throw new Error(`${name} ended with ${code} before it was ready:\n${server.output()}`);
  });
  await Promise.race([eventually(() => options.ready(server.output()), 30_000), ended]);
  // It will end, after the test.
  ended.catch(() => {});
  return server;
}

/** Who runs servers that refuse to run as root: the first of these users that exists; undefined if we aren't root. */
export function ordinaryUser(...names: readonly string[]): User | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of names) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }));
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new Error(`none of the users ${names.join(', ')} exists`);
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}

/** The programs of a soak: penstock and the endpoints behind it. What was started here is ended here, whatever happens. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { penstockMain } from '../support/penstock.ts';
import type { LogLine } from '../support/proxy.ts';
import type { EndpointCounts } from './endpoint.ts';
import type { EndpointsSpec } from './endpoints.ts';
import type { Ports } from './site.ts';

const running = new Set<ChildProcess>();

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

function keep<Child extends ChildProcess>(child: Child): Child {
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

export type Penstock = {
  readonly pid: number;
  readonly signal: (name: NodeJS.Signals) => void;
  readonly port: (listener: string) => number;
  /** `host:port` of the admin endpoint. */
  readonly admin: string;
  /** Lines of the access log so far, and other lines by message. */
  readonly said: { connections: number; readonly others: Map<string, number> };
  /** Its exit code, or the signal that ended it. */
  readonly exited: Promise<number | NodeJS.Signals>;
};

/** Starts `penstock run` in a directory; its log goes to `out`, without the lines of connections that went well. */
export async function startProxy(directory: string, out: string): Promise<Penstock> {
  const args = ['--disable-sigusr1', penstockMain, 'run', '-c', join(directory, 'penstock.yaml')];
  const child = keep(
    spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // In a group of its own: Ctrl-C is for the soak, which then ends it in order.
      detached: true,
    }),
  );
  const exited = once(child, 'close').then(([code, signal]) => code ?? signal);
  const file = createWriteStream(join(out, 'penstock.log'));
  const said = { connections: 0, others: new Map<string, number>() };
  child.stderr.on('data', (chunk: Buffer) => {
    said.others.set('stderr', (said.others.get('stderr') ?? 0) + 1);
    file.write(chunk);
  });
  const ready = new Promise<LogLine>((resolve) => {
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as LogLine;
      if (line.msg === 'connection') said.connections += 1;
      else {
        const key = `${line.level}: ${line.msg}`;
        said.others.set(key, (said.others.get(key) ?? 0) + 1);
      }
      if (line.msg !== 'connection' || line['code'] !== undefined) file.write(`${text}\n`);
      if (line.msg === 'ready') resolve(line);
    });
  });
  const first = await Promise.race([ready, exited]);
  if (typeof first !== 'object') throw new Error(`penstock ended with ${first}; see ${out}/penstock.log`);
  const bound = first['listeners'] as Readonly<Record<string, readonly string[]>>;
  return {
    pid: child.pid ?? 0,
    signal: (name) => void child.kill(name),
    port: (listener) => Number(bound[listener]?.[0]?.split(':').at(-1)),
    admin: first['admin'] as string,
    said,
    exited,
  };
}

export type Endpoints = {
  readonly pid: number;
  readonly ports: Ports;
  readonly count: () => Promise<EndpointCounts>;
  /** By force, as a crash would; resolves when it is gone. */
  readonly kill: () => Promise<void>;
};

export async function startEndpoints(spec: EndpointsSpec): Promise<Endpoints> {
  const child = keep(fork(resolve(import.meta.dirname, 'endpoints.ts'), { detached: true }));
  child.send(spec);
  const [ports] = (await once(child, 'message')) as [Ports];
  return {
    pid: child.pid ?? 0,
    ports,
    async count() {
      child.send('count');
      const [counts] = (await once(child, 'message')) as [EndpointCounts];
      return counts;
    },
    async kill() {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

/** What Linux tells of processes under /proc. Of one that has ended: nothing. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

export type ProcessFacts = {
  readonly rss: number;
  readonly descriptors: number;
  readonly threads: number;
  /** Seconds so far. */
  readonly cpu: number;
};

export function factsOf(pid: number): ProcessFacts | undefined {
  const status = read(`/proc/${pid}/status`);
  const rss = /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1];
  if (rss === undefined) return undefined;
  return {
    rss: Number(rss) * 1024,
    descriptors: list(`/proc/${pid}/fd`).length,
    threads: Number(/^Threads:\s+(\d+)/m.exec(status)?.[1]),
    cpu: cpuOf(pid),
  };
}

/** Whether every thread of a process has stopped (SIGSTOP). */
export function hasStopped(pid: number): boolean {
  const threads = list(`/proc/${pid}/task`);
  return threads.length > 0 && threads.every((id) => / T /.test(afterName(`/proc/${pid}/task/${id}/stat`)));
}

/** The client's ports of the connections to these local ports that a process holds open. */
export function clientPortsOf(pid: number, localPorts: ReadonlySet<number>): Set<number> {
  const inodes = new Set(
    list(`/proc/${pid}/fd`).flatMap(
      (fd) => /^socket:\[(\d+)\]$/.exec(link(`/proc/${pid}/fd/${fd}`))?.[1] ?? [],
    ),
  );
  const ports = new Set<number>();
  // sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …
  for (const line of read('/proc/net/tcp').split('\n').slice(1)) {
    const [, local = '', remote = '', , , , , , , inode = ''] = line.trim().split(/\s+/);
    if (inodes.has(inode) && localPorts.has(portOf(local))) ports.add(portOf(remote));
  }
  return ports;
}

function portOf(address: string): number {
  return Number.parseInt(address.split(':')[1] ?? '', 16);
}

/** utime and stime, in ticks of 10 ms. */
function cpuOf(pid: number): number {
  const fields = afterName(`/proc/${pid}/stat`).trim().split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The fields of proc(5)'s stat from the third on, a space first: the second is a name, which may hold anything. */
function afterName(path: string): string {
  const stat = read(path);
  return stat.slice(stat.lastIndexOf(')') + 1);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

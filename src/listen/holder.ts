/** Which process listens on an address already; as Linux tells it (proc(5)), and nobody else. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import type { Endpoint } from '../config/values.ts';

/**
 * `nginx (pid 812)`. Undefined if it cannot be found out: the descriptors of other users' processes are for root to see. Slow
 * (it looks at every descriptor of the machine), so to be asked only when something has failed.
 */
export function holderOf(endpoint: Endpoint): string | undefined {
  const inodes = 'path' in endpoint ? unixSockets(endpoint.path) : tcpSockets(endpoint.port);
  if (inodes.size === 0) return undefined;
  const pid = processes().find((one) => holds(one, inodes));
  return pid === undefined ? undefined : `${programOf(pid)} (pid ${pid})`;
}

/** In the column `st` of /proc/net/tcp. */
const listening = '0A';

/** The inodes of those that listen on this port, at whatever address. */
function tcpSockets(port: number): Set<string> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return inodesOf(['tcp', 'tcp6'], (columns) => {
    const [, local, , state] = columns;
    return state === listening && local?.endsWith(suffix) ? columns[9] : undefined;
  });
}

function unixSockets(path: string): Set<string> {
  return inodesOf(['unix'], (columns) => (columns[7] === path ? columns[6] : undefined));
}

function inodesOf(
  tables: readonly string[],
  inodeOf: (columns: readonly string[]) => string | undefined,
): Set<string> {
  const lines = tables.flatMap((table) => read(`/proc/net/${table}`).split('\n'));
  return new Set(lines.flatMap((line) => inodeOf(line.trim().split(/\s+/)) ?? []));
}

/** The oldest first: of a server and its workers, the server. */
function processes(): number[] {
  return list('/proc')
    .map(Number)
    .filter((pid) => pid > 0)
    .sort((one, other) => one - other);
}

function holds(pid: number, inodes: ReadonlySet<string>): boolean {
  return list(`/proc/${pid}/fd`).some((fd) => {
    const inode = /^socket:\[(\d+)\]$/.exec(link(`/proc/${pid}/fd/${fd}`))?.[1];
    return inode !== undefined && inodes.has(inode);
  });
}

/** Not its arguments: those may hold secrets. */
function programOf(pid: number): string {
  return basename(link(`/proc/${pid}/exe`)) || read(`/proc/${pid}/comm`).trim() || 'a process';
}

// What is gone, or not for us to see, is as if it were not there.
function read(file: string): string {
  return orElse('', () => readFileSync(file, 'utf8'));
}

function list(directory: string): string[] {
  return orElse([], () => readdirSync(directory));
}

function link(file: string): string {
  return orElse('', () => readlinkSync(file));
}

function orElse<T>(other: T, look: () => T): T {
  try {
    return look();
  } catch {
    return other;
  }
}

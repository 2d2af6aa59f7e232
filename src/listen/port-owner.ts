/** Which process already listens on an address, according to Linux's proc(5); unknown on any other system. */
import cluster from 'node:cluster';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import type { EndpointAddress } from '../net/written-address.ts';
import { orElse } from '../process/or-else.ts';

/** `name` looks like `nginx (pid 812)`. */
type PortOwner = { readonly kind: 'own' } | { readonly kind: 'other'; readonly name: string };

/**
 * Names another program rather than penstock itself. Undefined if it cannot tell: only root sees
 * the descriptors of other users' processes. Slow, since it looks at every descriptor on the
 * machine: call it only after a failure.
 */
export function portOwnerOf(endpoint: EndpointAddress): PortOwner | undefined {
  const inodes = 'path' in endpoint ? unixSockets(endpoint.path) : tcpSockets(endpoint.port);
  if (inodes.size === 0) return undefined;
  const holders = processes().filter((pid) => holds(pid, inodes));
  const other = holders.find((pid) => !isOwn(pid));
  if (other !== undefined) return { kind: 'other', name: `${programOf(other)} (pid ${other})` };
  return holders.length > 0 ? { kind: 'own' } : undefined;
}

/**
 * Whether a socket other than the one with this inode listens on exactly its
 * address, which needs SO_REUSEPORT.
 */
export function otherListens(inode: number): boolean {
  const rows = listeningRows();
  const own = rows.find((columns) => columns[9] === String(inode));
  return own !== undefined && rows.some((columns) => columns[1] === own[1] && columns[9] !== own[9]);
}

/** The supervisor and its workers. */
function isOwn(pid: number): boolean {
  const supervisor = cluster.isWorker ? process.ppid : process.pid;
  // The name in brackets may contain anything; the state and the parent's pid come after it.
  const parent = /^.*\) \S (\d+)/s.exec(read(`/proc/${pid}/stat`))?.[1];
  return pid === process.pid || pid === supervisor || Number(parent) === supervisor;
}

/** LISTEN in the column `st` of /proc/net/tcp. */
const listening = '0A';

/** The inodes of sockets that listen on this port, at any address. */
function tcpSockets(port: number): Set<string> {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return new Set(
    listeningRows().flatMap(([, local, , , , , , , , inode]) =>
      inode !== undefined && local?.endsWith(suffix) ? [inode] : [],
    ),
  );
}

/**
 * The listening TCP sockets. The tables list them first, ahead of what may be a hundred thousand connections,
 * so we stop reading after them.
 */
function listeningRows(): string[][] {
  return ['tcp', 'tcp6'].flatMap((table) => {
    const rows: string[][] = [];
    for (const line of linesOf(`/proc/net/${table}`)) {
      const columns = columnsOf(line);
      if (columns[3] === listening) rows.push(columns);
      else if (columns[0] !== 'sl') break;
    }
    return rows;
  });
}

function unixSockets(path: string): Set<string> {
  const rows = read('/proc/net/unix').split('\n').map(columnsOf);
  return new Set(rows.flatMap((columns) => (columns[7] === path ? (columns[6] ?? []) : [])));
}

const columnsOf = (line: string): string[] => line.trim().split(/\s+/);

/** Reads only as far as the caller iterates. */
function* linesOf(file: string): Generator<string> {
  const fd = orElse(-1, () => openSync(file, 'r'));
  if (fd === -1) return;
  try {
    const chunk = Buffer.alloc(64 * 1024);
    let rest = '';
    for (;;) {
      const read = orElse(0, () => readSync(fd, chunk));
      if (read === 0) break;
      const lines = (rest + chunk.toString('latin1', 0, read)).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
    if (rest !== '') yield rest;
  } finally {
    closeSync(fd);
  }
}

/** Oldest first: the server itself, rather than one of its workers. */
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

/** Without its arguments, which may hold secrets. */
function programOf(pid: number): string {
  return basename(link(`/proc/${pid}/exe`)) || read(`/proc/${pid}/comm`).trim() || 'a process';
}

// What is gone, or hidden from us, reads as empty.
function read(file: string): string {
  return orElse('', () => readFileSync(file, 'utf8'));
}

function list(directory: string): string[] {
  return orElse([], () => readdirSync(directory));
}

function link(file: string): string {
  return orElse('', () => readlinkSync(file));
}

/** Keeps the arrows between rooms: main → commands → worker → connection → rooms → errors and types of config. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const src = resolve(import.meta.dirname, '../../src');

/** Rooms, pure ones first. A room imports its own files, the leaves, and types of config. */
const rooms = [
  'proxy-protocol',
  'route',
  'peek',
  'starttls',
  'listen',
  'tls',
  'upstream',
  'splice',
  'observe',
  'pki',
  'load',
  'probe',
  'import',
  'config',
];
/** Files that everything may import: they import nothing but each other. */
const leaves = [
  'errors.ts',
  'address.ts',
  'stream.ts',
  'reader.ts',
  'roster.ts',
  'users.ts',
  'pacer.ts',
  'patience.ts',
  'collector.ts',
  'cancellation.ts',
  'ciphers.ts',
  'openssl-errors.ts',
  'one-line.ts',
  'or-else.ts',
  'descriptors.ts',
  'der.ts',
  'revocation-list.ts',
  'record-keys.ts',
  'verify-errors.ts',
  'verify-error-table.ts',
  'quota.ts',
  'channel.ts',
  'socket-file.ts',
  'version.ts',
];
/** From the top: a file may import files further down in this list, rooms, and leaves. */
const layers = [
  ['main.ts'],
  ['command-line.ts'],
  ['commands'],
  ['operation.ts'],
  ['overview.ts', 'service-manager.ts'],
  ['reload.ts', 'service-manager.ts'],
  ['supervisor.ts', 'admin-place.ts', 'endpoint-overview.ts'],
  [
    'address-book.ts',
    'consent.ts',
    'held-sockets.ts',
    'heartbeat.ts',
    'lessor.ts',
    'old-workers.ts',
    'socket-keeper.ts',
    'watch.ts',
    'worker-handle.ts',
    'worker-rights.ts',
  ],
  ['worker-entry.ts'],
  ['standalone.ts', 'worker-process.ts'],
  ['processes.ts'],
  ['worker.ts'],
  ['connection.ts'],
  // What a connection is made of; these know each other by type.
  [
    'preamble.ts',
    'farewell.ts',
    'cancel.ts',
    'outbound.ts',
    'health-probes.ts',
    'connection-state.ts',
    'service.ts',
    'identity.ts',
    'still-welcome.ts',
  ],
];

type Import = { readonly from: string; readonly to: string; readonly typeOnly: boolean };

const faults = sourceFiles(src).flatMap((file) => importsOf(file).flatMap(faultOf));
for (const fault of faults) process.stderr.write(`${fault}\n`);
process.exitCode = faults.length === 0 ? 0 : 1;

function faultOf({ from, to, typeOnly }: Import): string[] {
  const [fromRoom, toRoom] = [roomOf(from), roomOf(to)];
  if (leaves.includes(to) || from === 'index.ts' || to === 'guard.ts') return [];
  if (leaves.includes(from)) return [`src/${from} is a leaf and must not import src/${to}`];
  if (fromRoom !== undefined && rooms.includes(fromRoom)) {
    if (toRoom === fromRoom) return [];
    // Types and the schema's parsers of addresses are for all.
    if (toRoom === 'config' && (typeOnly || to === 'config/values.ts')) return [];
    return [`src/${from} (room ${fromRoom}) must not import src/${to}`];
  }
  if (toRoom !== undefined && rooms.includes(toRoom)) return [];
  const [fromLayer, toLayer] = [layerOf(from), layerOf(to)];
  if (fromLayer === -1) return [`src/${from} is in no layer of test/support/check-arrows.ts`];
  return toLayer >= fromLayer || typeOnly ? [] : [`src/${from} must not import src/${to}: that is upwards`];
}

function roomOf(file: string): string | undefined {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : undefined;
}

function layerOf(file: string): number {
  return layers.findIndex((layer) => layer.includes(roomOf(file) ?? file));
}

function sourceFiles(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(directory, file));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const pattern =
    /(?:^|\n)\s*(import|export)\s+(type\s)?[^;]*?from\s+'(\.[^']+)'|import\('(\.[^']+)'\)|\nimport '(\.[^']+)'/g;
  return [...text.matchAll(pattern)].map((match) => ({
    from: relative(src, file),
    to: relative(src, resolve(dirname(file), match[3] ?? match[4] ?? match[5] ?? '')),
    typeOnly: match[2] !== undefined,
  }));
}

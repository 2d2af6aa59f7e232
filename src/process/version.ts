/** The version of the package that this code belongs to. */
import { readFileSync } from 'node:fs';
import { bundledVersion } from './own-files.ts';

export const version: string = bundledVersion ?? readVersion();

function readVersion(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
}

/** What to say of a running penstock when something is amiss: it behaves as its Node and OpenSSL do. */
export function describeVersion(versions: NodeJS.ProcessVersions, now = new Date()): string {
  const { node, openssl, bun } = versions;
  const runtime = bun === undefined ? `Node ${node}` : `Bun ${bun}`;
  const end = endOfSupport(Number(node.split('.')[0]), now);
  return [
    version,
    `${runtime}, OpenSSL ${openssl}, ${process.platform}-${process.arch}`,
    ...(bun === undefined && end ? [`warning: Node ${node} has had no security fixes since ${end}`] : []),
  ].join('\n');
}

/** The day on which a line of Node ended, if it has: odd ones after half a year, even ones after three. */
function endOfSupport(major: number, now: Date): string | undefined {
  const end = ends[major];
  return end !== undefined && now >= new Date(end) ? end : undefined;
}

// https://github.com/nodejs/Release
const ends: Readonly<Record<number, string>> = {
  20: '2026-04-30',
  21: '2024-06-01',
  22: '2027-04-30',
  23: '2025-06-01',
  24: '2028-04-30',
  25: '2026-06-01',
};

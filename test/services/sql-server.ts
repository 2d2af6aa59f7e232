/** A stand-in for SQL Server, which is not to be had: a program of npm/, made of tedious' own packets. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { serve } from './process.ts';
import { npmDirectory } from './programs.ts';

/** With a certificate it has TLS, of both kinds; without one, none. Returns its port. */
export async function startSqlServer(
  t: TestContext,
  credential: { readonly cert?: string; readonly key?: string } = {},
): Promise<number> {
  const args = [join(npmDirectory, 'sql-server.mjs'), JSON.stringify(credential)];
  const ready = (output: string) => assert.match(output, /^\d+\n/);
  const server = await serve(t, process.execPath, args, { ready });
  return Number.parseInt(server.output(), 10);
}

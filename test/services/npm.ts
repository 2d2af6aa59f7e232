/** Clients from npm that only these tests use. Each has a program in npm/, which takes its orders as JSON and prints as JSON what came of them. */
import { join } from 'node:path';
import { run } from './process.ts';
import { npmDirectory } from './programs.ts';

export type Answer = { readonly error?: string; readonly [key: string]: unknown };

/** Runs one to its end. `ca` is the file of an authority that it trusts, for those that take it from nowhere else. */
export async function ask(client: string, orders: object, ca?: string): Promise<Answer> {
  const args = [join(npmDirectory, `${client}.mjs`), JSON.stringify(orders)];
  const { stdout, stderr } = await run(
    process.execPath,
    args,
    ca ? { env: { NODE_EXTRA_CA_CERTS: ca } } : {},
  );
  const [line = ''] = stdout.split('\n');
  if (!line.startsWith('{')) throw new Error(`${client} answers nothing: ${stdout}${stderr}`);
  return JSON.parse(line) as Answer;
}

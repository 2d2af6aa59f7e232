/** NATS's JavaScript client, as a program: `clients/nats.mjs`. */
import { join } from 'node:path';
import { run } from './process.ts';

export type Told = {
  readonly answer?: string;
  /** Its number in a stream, and what was read there. */
  readonly published?: readonly [number, string];
  readonly tls_required?: boolean;
  readonly server_name?: string;
  readonly error?: string;
};

/** Connects to the port of this machine with these options of the client's, and exchanges messages. */
export function askNats(port: number, options: object): Promise<Told> {
  return client(JSON.stringify({ servers: `localhost:${port}`, ...options })) as Promise<Told>;
}

/** A key of a user, of which the server knows the public part. */
export function makeKey(): Promise<{ readonly public: string; readonly seed: string }> {
  return client('key') as Promise<{ public: string; seed: string }>;
}

async function client(argument: string): Promise<unknown> {
  const script = join(import.meta.dirname, 'clients/nats.mjs');
  const { stdout, stderr } = await run(process.execPath, [script, argument]);
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

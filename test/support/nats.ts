/** As much of NATS as the tests need: a server that says INFO before TLS, within it or without any, and clients of either kind. */
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { Credential } from './certificates.ts';
import { eventually } from './eventually.ts';
import { rawClient } from './raw-client.ts';
import type { ServerMode } from './starttls.ts';
import { tcpUpstream } from './upstream.ts';
import { serverTls } from './within-tls.ts';

export type Info = Readonly<Record<string, unknown>>;

export type NatsServer = {
  readonly port: number;
  readonly accepted: () => number;
  readonly got: () => string;
};

/** Answers PING with PONG, and keeps what it was told. `info` is added to its INFO, `behind` follows it at once. */
export async function natsServer(
  t: TestContext,
  mode: ServerMode,
  credential: Credential,
  { info = {}, behind = '' }: { info?: Info; behind?: string } = {},
): Promise<NatsServer> {
  let accepted = 0;
  let got = '';
  const tls = mode === 'plain' ? {} : { tls_required: true };
  const line = `INFO ${JSON.stringify({ server_id: 'S', nonce: 'n', ...tls, ...info })} \r\n${behind}`;
  const { port } = await tcpUpstream(t, (socket) => {
    accepted++;
    if (mode !== 'first') socket.write(line);
    const stream = mode === 'plain' ? socket : serverTls(socket, credential);
    if (mode === 'first') stream.write(line);
    stream.on('end', () => stream.end());
    stream.on('data', (data) => {
      got += data;
      if (String(data).includes('PING')) stream.write('PONG\r\n');
    });
  });
  return { port, accepted: () => accepted, got: () => got };
}

export type Talk = {
  /** In plain text, for a client that waited for it. */
  readonly greeting: Info | undefined;
  /** All that came within TLS, up to PONG. */
  readonly within: string;
};

const connectAndPing = 'CONNECT {"verbose":false}\r\nPING\r\n';

/** Waits for INFO, begins TLS behind it, and pings. */
export async function greetedTalk(t: TestContext, port: number, options: object = {}): Promise<Talk> {
  const { socket, received } = rawClient(t, port);
  const greeting = await found(() => infoOf(received().toString()));
  socket.removeAllListeners('data');
  return { greeting, within: await ping(t, tlsConnect({ socket, ...clientOptions, ...options })) };
}

/**
 * Begins with TLS, waits for INFO, and pings. On a machine with no time for it the ClientHello comes after the greeting, and TLS fails: such
 * a client tries again, as those of NATS do.
 */
export async function tlsFirstTalk(t: TestContext, port: number, options: object = {}): Promise<Talk> {
  return found(async () => {
    const stream = tlsConnect({ port, host: '127.0.0.1', ...clientOptions, ...options });
    return { greeting: undefined, within: await ping(t, stream, 'INFO') };
  });
}

const clientOptions = { servername: 'nats.example', rejectUnauthorized: false };

async function ping(t: TestContext, stream: TLSSocket, after = ''): Promise<string> {
  t.after(() => stream.destroy());
  let within = '';
  stream.on('data', (data) => {
    within += data;
  });
  stream.on('error', () => {});
  await once(stream, 'secureConnect');
  await eventually(() => infoIsThere(within, after));
  stream.write(connectAndPing);
  await eventually(() => {
    if (!within.endsWith('PONG\r\n')) throw new Error(`no PONG in ${JSON.stringify(within)}`);
  });
  return within;
}

function infoIsThere(text: string, word: string): void {
  if (!text.startsWith(word) || (word !== '' && !text.endsWith('\r\n')))
    throw new Error(`no ${word}: ${text}`);
}

/** What `find` answers, once it does not throw any more. */
export async function found<T>(find: () => T | Promise<T>): Promise<T> {
  let value: T | undefined;
  await eventually(async () => {
    value = await find();
  });
  return value as T;
}

/** Of a whole line. */
export function infoOf(text: string): Info {
  const [, json] = /^INFO (\{.*\}) \r\n/.exec(text) ?? [];
  if (json === undefined) throw new Error(`no INFO in ${JSON.stringify(text)}`);
  return JSON.parse(json);
}

/** `penstock hello`: what a ClientHello says, from a file, from standard input, or from whoever connects. */
import { createReadStream, existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { formatAddress } from '../address.ts';
import { type Endpoint, parseEndpoint } from '../config/values.ts';
import { ProxyError, systemCode } from '../errors.ts';
import { createHelloReader, type ReadHello } from '../peek/client-hello.ts';
import { readInput, recognizeBytes } from './hello/bytes.ts';
import { describeHello, formatHello } from './hello/describe.ts';
import { listenForHellos } from './hello/listen.ts';

export type HelloOptions = {
  readonly json?: boolean;
  /** Listening: end after the first client that sent anything. */
  readonly once?: boolean;
};

/**
 * Prints what the ClientHello says that is in a file or, for `-` or nothing, on standard input; given an address, listens
 * there and prints what arrives, until SIGINT or SIGTERM. With `json` one object each. Resolves to the exit code: 0; 1 if
 * the hello is malformed or the address cannot be bound; 2 if there is no such file.
 */
export async function hello(target: string | undefined, options: HelloOptions): Promise<number> {
  if (target === undefined || target === '-') {
    if (process.stdin.isTTY) tell('paste a ClientHello in hex or base64, then press Ctrl-D');
    return decode(await readInput(process.stdin), options);
  }
  const endpoint = existsSync(target) ? undefined : parseEndpoint(target);
  if (endpoint) return listen(endpoint, options);
  try {
    return decode(await readInput(createReadStream(target)), options);
  } catch (error) {
    if (systemCode(error) === '') throw error;
    const hint = /^\d+$/.test(target)
      ? `to listen on that port, write :${target}`
      : 'to listen, give HOST:PORT';
    tell(`${target} cannot be read (${systemCode(error)}); ${hint}`);
    return 2;
  }
}

/** Answers what the hello in a file says, or throws a ProxyError. */
export function readWholeHello(input: Buffer): ReadHello {
  const bytes = recognizeBytes(input);
  const read = createHelloReader()(bytes);
  if (read) return read;
  const message =
    bytes.length === 0
      ? 'there is nothing to decode'
      : `the ClientHello is cut short: ${bytes.length} bytes are not all of it`;
  throw new ProxyError('ERR_CLIENT_HELLO_INVALID', { side: 'client', message });
}

function decode(input: Buffer, { json }: HelloOptions): number {
  try {
    const description = describeHello(readWholeHello(input));
    process.stdout.write(json ? `${JSON.stringify(description, null, 2)}\n` : formatHello(description));
    return 0;
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error;
    tell(`${error.message} (${error.code})`);
    return 1;
  }
}

async function listen(endpoint: Endpoint, { json, once }: HelloOptions): Promise<number> {
  return new Promise((resolve) => {
    const listening = listenForHellos(endpoint, ({ from, closed, read, error }) => {
      if (read) {
        const description = describeHello(read, from);
        process.stdout.write(json ? `${JSON.stringify(description)}\n` : `${formatHello(description)}\n`);
      } else {
        tell(`${from}: ${error.message} (${error.code})`);
      }
      // Not before the client has its alert.
      if (once) closed.then(() => resolve(read ? 0 : 1));
    });
    listening.then(
      (server) => tell(`listening on ${describeAddress(server.address())}; Ctrl-C ends`),
      (error: Error) => {
        tell(error.message);
        resolve(1);
      },
    );
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(0));
  });
}

function describeAddress(address: AddressInfo | string | null): string {
  return typeof address === 'object' && address ? formatAddress(address) : `unix:${address}`;
}

function tell(line: string): void {
  process.stderr.write(`penstock: ${line}\n`);
}

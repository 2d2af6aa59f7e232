/** `penstock hello`: decodes ClientHellos from a file, from standard input, or from clients that connect. */
import { createReadStream, existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { ProxyError, systemCode } from '../../errors.ts';
import { formatAddress } from '../../net/address.ts';
import { type EndpointAddress, parseEndpoint } from '../../net/written-address.ts';
import { type ProtocolName, protocolOf } from '../../protocols/table.ts';
import { type Heard, readHellos } from '../captures/input.ts';
import { knownListener } from '../client/listener.ts';
import { loadOrTell } from '../terminal/load-or-tell.ts';
import { UsageError } from '../terminal/usage.ts';
import { describeHello, formatHello } from './describe.ts';
import { listenForHellos } from './listen.ts';
import { createRouteTables, type RouteTables } from './route-tables.ts';

type HelloOptions = {
  /** Also show how the routes of this configuration treat each hello. */
  readonly config?: string;
  /** Only the routes of this listener. */
  readonly listener?: string;
  readonly json?: boolean;
  /** When listening, stop after the first client that sent anything. */
  readonly once?: boolean;
  /** When listening, the protocol before TLS, if the server speaks first in it. */
  readonly starttls?: ProtocolName;
};

/**
 * Decodes the ClientHellos in a file or, for `-` or nothing, on standard input: a single one, or those in a
 * capture. Given an address, listens there and decodes what arrives, until SIGINT or SIGTERM. With `json`
 * prints one object each, indented if there can be only one, otherwise one per line. Resolves with the exit
 * code: 0; 1 if a hello is malformed, there is none, or the address cannot be bound; 2 if there is no such
 * file, for bad usage, or for a faulty configuration.
 */
export async function hello(target: string | undefined, options: HelloOptions): Promise<number> {
  const tables = await tablesOf(options);
  if (tables === 'faulty') return 2;
  const code = await decodeOrListen(target, { ...options, tables });
  await tables?.close();
  return code;
}

type Settings = HelloOptions & { readonly tables: RouteTables | undefined };

async function tablesOf({ config, listener }: HelloOptions): Promise<RouteTables | 'faulty' | undefined> {
  try {
    if (config === undefined && listener === undefined) return undefined;
    if (config === undefined) throw new UsageError('--listener needs the configuration that has it: -c FILE');
    const loaded = await loadOrTell(config);
    if (loaded === undefined) return 'faulty';
    return createRouteTables(loaded, listener === undefined ? undefined : knownListener(loaded, listener));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    return 'faulty';
  }
}

async function decodeOrListen(target: string | undefined, options: Settings): Promise<number> {
  if (target === undefined || target === '-') {
    if (process.stdin.isTTY) tell('paste a ClientHello in hex or base64, then press Ctrl-D');
    return decode(process.stdin, options);
  }
  const endpoint = existsSync(target) ? undefined : parseEndpoint(target);
  if (endpoint) return listen(endpoint, options);
  try {
    return await decode(createReadStream(target), options);
  } catch (error) {
    if (error instanceof ProxyError || systemCode(error) === '') throw error;
    const hint = /^\d+$/.test(target)
      ? `to listen on that port, write :${target}`
      : 'to listen, give HOST:PORT';
    tell(`${target} cannot be read (${systemCode(error)}); ${hint}`);
    return 2;
  }
}

async function decode(input: AsyncIterable<Buffer>, options: Settings): Promise<number> {
  let code = 0;
  let isFirst = true;
  for await (const heard of readHellos(input)) {
    if (heard.read && !isFirst && !options.json) process.stdout.write('\n');
    if (heard.read) isFirst = false;
    else code = 1;
    // A capture may have many.
    await print(heard, options, heard.origin.to === undefined ? 2 : 0);
  }
  return code;
}

async function print(heard: Heard, { json, tables }: Settings, indent: number): Promise<void> {
  const { origin, read, error } = heard;
  if (read) {
    const description = describeHello(read, origin, await tables?.route({ origin, read }));
    process.stdout.write(json ? `${JSON.stringify(description, null, indent)}\n` : formatHello(description));
  } else {
    const { from, to } = origin;
    const who = from === undefined ? '' : `${from}${to === undefined ? '' : ` to ${to}`}: `;
    tell(`${who}${error.message} (${error.code})`);
  }
}

async function listen(endpoint: EndpointAddress, options: Settings): Promise<number> {
  // Printed one after another, in order of arrival.
  let told: Promise<void> = Promise.resolve();
  return new Promise((resolve) => {
    const listening = listenForHellos(endpoint, protocolOf(options.starttls), ({ closed, ...heard }) => {
      told = told.then(async () => {
        await print(heard, options, 0);
        if (heard.read && !options.json) process.stdout.write('\n');
      });
      // Wait until the client has its alert.
      if (options.once) Promise.all([closed, told]).then(() => resolve(heard.read ? 0 : 1));
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

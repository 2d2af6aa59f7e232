/** `penstock explain`: what happens to a client, and why. */
import { createReadStream } from 'node:fs';
import { text as readText } from 'node:stream/consumers';
import type { LoadedConfig } from '../../config/load.ts';
import { ProxyError, systemCode } from '../../errors.ts';
import { type Binding, parseBinding } from '../../net/written-address.ts';
import { hostOf, type Origin, readHellos } from '../captures/input.ts';
import { type AssumedClient, clientOf } from '../client/assumed-client.ts';
import { type ClientFlags, clientOfFlags, overridesOf } from '../client/flags.ts';
import { knownListener } from '../client/listener.ts';
import { type Load, loadOrTell } from '../terminal/load-or-tell.ts';
import { UsageError } from '../terminal/usage.ts';
import { createExplainer } from './explanation.ts';
import { agrees, type Logged, readLogLines } from './log-line.ts';
import { formatExplanation } from './text.ts';

type ExplainOptions = ClientFlags & {
  readonly config?: string;
  /** Required unless a log line or the port of a captured connection determines it. */
  readonly listener?: string;
  /** A file with ClientHellos; `-` means standard input. */
  readonly hello?: string;
  /** A file with lines of the access log; `-` means standard input. */
  readonly logLine?: string;
  readonly json?: boolean;
  /** False: private keys are not read, and no handshake is rehearsed. */
  readonly keys?: boolean;
  /** Loads the configuration; absent: the file alone. */
  readonly load?: Load | undefined;
};

/** One client to explain at one listener; `logged` is what a log line says happened to it. */
type Case = { readonly listener: string; readonly client: AssumedClient; readonly logged?: Logged };

/**
 * Prints what the configuration does with such clients, as text or, with `json`, one object per client, one
 * per line if there are several. Resolves with the exit code: 0 whenever it could explain, even a refusal; 1
 * if a client of `hello` or `logLine` could not be read; 2 for bad usage or a faulty configuration.
 */
export async function explain(options: ExplainOptions): Promise<number> {
  try {
    // Check flags first, since they do not depend on the configuration.
    const wanted = gather(options);
    const loaded = await loadOrTell(options.config, options);
    if (loaded === undefined) return 2;
    const { cases, troubles } = await wanted(loaded);
    for (const trouble of troubles) process.stderr.write(`penstock: ${trouble}\n`);
    await print(cases, loaded, options);
    return troubles.length === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`error: ${error.message}\n`);
    return 2;
  }
}

async function print(
  cases: readonly Case[],
  loaded: LoadedConfig,
  { json = false, keys = true }: ExplainOptions,
): Promise<void> {
  const explainer = createExplainer(loaded, { rehearses: keys });
  for (const [index, { listener, client, logged }] of cases.entries()) {
    const explanation = await explainer.explain(listener, client);
    const log = logged && { ...logged, agrees: agrees(logged, explanation) };
    if (json) {
      const indent = cases.length === 1 ? 2 : 0;
      process.stdout.write(`${JSON.stringify({ ...explanation, log: log ?? null }, null, indent)}\n`);
    } else process.stdout.write(`${index === 0 ? '' : '\n'}${formatExplanation(explanation, log)}`);
  }
  await explainer.close();
}

type Gathered = { readonly cases: readonly Case[]; readonly troubles: readonly string[] };

/** Checks the flags, and returns a function that reads the clients they describe. Both throw UsageErrors. */
function gather(options: ExplainOptions): (loaded: LoadedConfig) => Promise<Gathered> {
  const { hello, logLine, listener } = options;
  if (hello !== undefined && logLine !== undefined) {
    throw new UsageError('--hello and --log-line exclude each other');
  }
  if (hello !== undefined) {
    const overrides = overridesOf(options, '--hello');
    return (loaded) => gatherHellos(hello, loaded, listener, overrides);
  }
  if (logLine !== undefined) {
    const overrides = overridesOf(options, '--log-line');
    return (loaded) => gatherLogLines(logLine, loaded, listener, overrides);
  }
  const client = clientOfFlags(options);
  return async (loaded) => ({
    cases: [{ listener: knownListener(loaded, listener), client: checkPeer(loaded, listener, client) }],
    troubles: [],
  });
}

function checkPeer(
  { config }: LoadedConfig,
  listener: string | undefined,
  client: AssumedClient,
): AssumedClient {
  if (client.peer === undefined || config.listeners[listener ?? '']?.accept_proxy_protocol) return client;
  throw new UsageError(`--peer: listener ${listener} reads no PROXY headers; the client's address is --from`);
}

async function gatherHellos(
  file: string,
  loaded: LoadedConfig,
  listener: string | undefined,
  overrides: Partial<AssumedClient>,
): Promise<Gathered> {
  const cases: Case[] = [];
  const troubles: string[] = [];
  try {
    for await (const { origin, read, error } of readHellos(open(file))) {
      const from = hostOf(origin.from);
      if (error)
        troubles.push(`${from === undefined ? '' : `${origin.from}: `}${error.message} (${error.code})`);
      else {
        const at = knownListener(loaded, listener ?? listenerAt(loaded, origin));
        const peer = hostOf(origin.peer);
        cases.push({ listener: at, client: { ...clientOf(read), address: from, peer, ...overrides } });
      }
    }
  } catch (error) {
    throw unreadable(file, error);
  }
  return { cases, troubles };
}

async function gatherLogLines(
  file: string,
  loaded: LoadedConfig,
  listener: string | undefined,
  overrides: Partial<AssumedClient>,
): Promise<Gathered> {
  const text = await readText(open(file)).catch((error) => {
    throw unreadable(file, error);
  });
  const { lines, strange } = readLogLines(text);
  if (lines.length === 0) {
    const hint = strange > 0 ? 'it has to be JSON: on a terminal the log is pretty, in a file it is not' : '';
    throw new UsageError(
      `no line of the access log (msg: connection) in ${nameOf(file)}${hint && `; ${hint}`}`,
    );
  }
  const cases = lines.map(({ listener: logged, clientAt, logged: facts }) => {
    const at = knownListener(loaded, listener ?? logged);
    const config = loaded.config.listeners[at]!; // it is known
    return { listener: at, client: { ...clientAt(config), ...overrides }, logged: facts };
  });
  return { cases, troubles: [] };
}

function open(file: string): AsyncIterable<Buffer> & NodeJS.ReadableStream {
  return file === '-' ? process.stdin : createReadStream(file);
}

function nameOf(file: string): string {
  return file === '-' ? 'standard input' : file;
}

function unreadable(file: string, error: unknown): unknown {
  if (error instanceof ProxyError || error instanceof UsageError || systemCode(error) === '') return error;
  return new UsageError(`${nameOf(file)} cannot be read (${systemCode(error)})`);
}

/** The only listener on the port that a captured connection went to. */
function listenerAt({ config }: LoadedConfig, { to }: Origin): string | undefined {
  const port = Number(/:(\d+)$/.exec(to ?? '')?.[1]);
  const has = (binding: Binding | undefined) => binding && 'port' in binding && binding.port === port;
  const there = Object.entries(config.listeners).filter(([, { bind }]) =>
    bind.some((address) => has(parseBinding(address))),
  );
  return there.length === 1 ? there[0]?.[0] : undefined;
}

/** `penstock explain`: what happens to a client, and why. */
import { isIP } from 'node:net';
import { normalizeAddress } from '../address.ts';
import { suggest } from '../config/near-miss.ts';
import { normalizeServerName } from '../route/server-name.ts';
import { type AssumedClient, explainClient } from './explain/explanation.ts';
import { formatExplanation } from './explain/text.ts';
import { loadOrTell } from './run.ts';

export type ExplainOptions = {
  readonly config?: string;
  readonly listener: string;
  /** Absent: the client sends no name. */
  readonly sni?: string;
  /** Each a protocol, or several with commas between them. */
  readonly alpn?: readonly string[];
  /** Its address, or `unix`. */
  readonly from?: string;
  readonly ja4?: string;
  /** It speaks no TLS. */
  readonly plain?: boolean;
  readonly json?: boolean;
};

/**
 * Prints what the configuration does with such a client: text, or with `json` one object. Resolves to the exit code: 0
 * whenever it could explain, a refusal too; 2 for bad usage or a faulty configuration.
 */
export async function explain(options: ExplainOptions): Promise<number> {
  const client = assumedClient(options);
  if (typeof client === 'string') return misused(client);
  const loaded = await loadOrTell(options.config);
  if (loaded === undefined) return 2;
  const { listeners } = loaded.config;
  const { listener: name } = options;
  const listener = Object.hasOwn(listeners, name) ? listeners[name] : undefined;
  if (listener === undefined) {
    const hint = suggest(name, Object.keys(listeners), 'there are');
    return misused(`no listener is called "${name}"${hint === undefined ? '' : `; ${hint}`}`);
  }
  const explanation = explainClient(loaded, name, listener, client);
  process.stdout.write(
    options.json ? `${JSON.stringify(explanation, null, 2)}\n` : formatExplanation(explanation),
  );
  return 0;
}

function misused(message: string): number {
  process.stderr.write(`error: ${message}\n`);
  return 2;
}

/** The client that the options speak of, or what is wrong with them. */
function assumedClient({ sni, alpn = [], from, ja4, plain = false }: ExplainOptions): AssumedClient | string {
  const said = Object.entries({ sni, alpn: alpn[0], ja4 }).find(([, value]) => value !== undefined);
  if (plain && said) return `--plain and --${said[0]} exclude each other: only TLS clients have that`;
  const name = sni === undefined ? undefined : normalizeServerName(sni);
  if (name !== undefined && !serverName.test(name)) {
    return `--sni ${sni}: expected a name such as orders.example.com; without --sni the client sends none`;
  }
  if (from !== undefined && from !== 'unix' && isIP(from) === 0) {
    return `--from ${from}: expected an address such as 10.1.2.3 or 2001:db8::1, or unix`;
  }
  const offered = alpn.flatMap((list) => list.split(',')).filter((protocol) => protocol !== '');
  return { sni: name, alpn: offered, address: from && normalizeAddress(from), ja4, plain };
}

/** What a ClientHello can say: anything else is refused before it is routed. */
const serverName = /^(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*$/;

/**
 * Listeners of etcd whose addresses this machine cannot bind, though nothing is wrong with them: another
 * program has the port, or the address is no machine's own. Each is held back like a faulty object, and not
 * with it every later change.
 */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { isMapping } from '../config/read/parted.ts';
import { parseEndpoint } from '../net/written-address.ts';
import type { Objects } from './load-state.ts';
import { listOf, parseObjectText } from './objects.ts';

type Obstacle = { readonly text: string; readonly message: string };

export class Obstacles {
  readonly #found = new Map<string, Obstacle>();

  /** What stands in the way of a text of the object with this name. */
  of(name: string, text: string): string | undefined {
    const found = this.#found.get(name);
    return found?.text === text ? found.message : undefined;
  }

  /**
   * Learns from the faults with which a configuration of these objects could not be served. False if they
   * name no listener of etcd: then there is no use in trying without it.
   */
  learn(faults: readonly string[], served: Objects): boolean {
    let isNew = false;
    for (const fault of faults) {
      const [, listener = '', message = ''] = /^listeners\.(.+?)\.bind: (.+)$/s.exec(fault) ?? [];
      const name = `listeners/${listener}`;
      const text = served.get(name)?.text;
      if (text === undefined || this.of(name, text) !== undefined) continue;
      this.#found.set(name, { text, message: `bind: ${message}` });
      isNew = true;
    }
    return isNew;
  }

  /** Tries to bind them, and forgets those for which it works now. True if there are any. */
  async retry(): Promise<boolean> {
    let isAny = false;
    for (const [name, obstacle] of [...this.#found]) {
      if (!(await canBind(obstacle.text)) || this.#found.get(name) !== obstacle) continue;
      this.#found.delete(name);
      isAny = true;
    }
    return isAny;
  }
}

async function canBind(text: string): Promise<boolean> {
  const { raw } = parseObjectText(text);
  const addresses = isMapping(raw) ? listOf(raw['bind']) : [];
  const bound = await Promise.all(addresses.map(isFree));
  return bound.every(Boolean);
}

async function isFree(address: unknown): Promise<boolean> {
  const endpoint = parseEndpoint(String(address));
  if (endpoint === undefined || !('port' in endpoint)) return false;
  const server = createServer();
  server.listen({ host: endpoint.host, port: endpoint.port });
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

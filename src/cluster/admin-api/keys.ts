/** Who may do what: the key of a request, and the role that goes with it. */
import { timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type ApiKey, hashKey } from '../../config/material/api-keys.ts';
import type { Answer } from './answer.ts';

export type Keeper = {
  /** Replaces the keys; requests from now on need one of these. */
  setKeys: (keys: readonly ApiKey[]) => void;
  /** Resolves with the refusal, late, or with undefined if the request may be answered. */
  refusalOf: (request: IncomingMessage) => Promise<Answer | undefined>;
};

const refusalMs = 500;
const quietMs = 1000;

export function createKeeper(first: readonly ApiKey[], logger: Logger): Keeper {
  let keys = first;
  let loggedAt = Number.NEGATIVE_INFINITY;
  let unlogged = 0;

  /** At most one line a second, so that guesses do not fill the disk. */
  function log(reason: string, { socket, method, url }: IncomingMessage): void {
    if (performance.now() - loggedAt < quietMs) {
      unlogged += 1;
      return;
    }
    const path = url?.split('?')[0];
    logger.warn({ reason, client: socket.remoteAddress, method, path, unlogged }, 'Admin API: refused a key');
    [loggedAt, unlogged] = [performance.now(), 0];
  }

  return {
    setKeys(next) {
      keys = next;
    },
    async refusalOf(request) {
      const reason = reasonToRefuse(request, keys);
      if (reason === undefined) return undefined;
      log(reason, request);
      await sleep(refusalMs, undefined, { ref: false });
      return { status: 401, body: { error_msg: 'the API key was not accepted', description: reason } };
    },
  };
}

function reasonToRefuse(request: IncomingMessage, keys: readonly ApiKey[]): string | undefined {
  const given = request.headers['x-api-key'];
  if (typeof given !== 'string' || given === '') return 'there is no key in the header X-API-KEY';
  const hash = hashKey(given);
  // Compares with all of them, so that the time says nothing.
  const fitting = keys.filter((key) => timingSafeEqual(hash, key.hash));
  if (fitting.length === 0) return 'the key is wrong';
  const mayWrite = fitting.some(({ role }) => role === 'admin');
  return mayWrite || request.method === 'GET' ? undefined : 'the role viewer may only GET';
}

/**
 * How many clients may come in: limits per listener and per client address. `decide/` says which clients may.
 */

import type { ListenerConfig } from '../config/schema/schema.ts';
import { ProxyError } from '../errors.ts';
import type { Quota } from '../ipc/quota.ts';
import { limitKey } from '../net/address.ts';
import type { AddressLimits, AddressVerdict } from './address-limits.ts';

/** The limits of one listener. A promise means that another process has to be asked. */
export type Admission = {
  /** Counts a connection in, or throws ERR_CONNECTION_LIMIT. `leave` counts it out. */
  readonly enter: () => Promise<void> | undefined;
  readonly leave: () => void;
  /**
   * Applies the limits per address, after a PROXY header if there is one. Returns the function that counts
   * the client out; throws ERR_CONNECTION_LIMIT_PER_IP or ERR_RATE_LIMIT_PER_IP.
   */
  readonly admit: (client: string) => Promise<() => void> | (() => void) | undefined;
};

/** The counts, which outlive a configuration. `byAddress` is undefined if no limit per address is set. */
export type Counts = { readonly connections: Quota; readonly byAddress: AddressLimits | undefined };

export function createAdmission(
  { limits }: Pick<ListenerConfig, 'limits'>,
  { connections, byAddress }: Counts,
): Admission {
  const checkEntered = (entered: boolean) => {
    if (entered) return undefined;
    throw refusal(
      'ERR_CONNECTION_LIMIT',
      `${limits.connections} connections are open`,
      'raise limits.connections',
    );
  };

  return {
    enter() {
      const entered = connections.take();
      return typeof entered === 'boolean' ? checkEntered(entered) : entered.then(checkEntered);
    },
    leave: connections.give,
    admit(client) {
      if (byAddress === undefined) return undefined;
      const key = limitKey(client);
      const leave = () => byAddress.leave(key);
      const verdict = byAddress.enter(key);
      if (typeof verdict === 'string') return checkVerdict(verdict, key, leave);
      return verdict.then((answer) => checkVerdict(answer, key, leave));
    },
  };
}

function checkVerdict(verdict: AddressVerdict, key: string, leave: () => void): () => void {
  switch (verdict) {
    case 'in':
      return leave;
    case 'too_many':
      throw refusal(
        'ERR_CONNECTION_LIMIT_PER_IP',
        `${key} has as many connections open as it may`,
        'raise limits.connections_per_ip',
      );
    case 'too_often':
      throw refusal('ERR_RATE_LIMIT_PER_IP', `${key} connects too often`, 'raise limits.rate_per_ip');
  }
}

function refusal(
  code: 'ERR_CONNECTION_LIMIT' | 'ERR_CONNECTION_LIMIT_PER_IP' | 'ERR_RATE_LIMIT_PER_IP',
  message: string,
  hint: string,
): ProxyError {
  return new ProxyError(code, { side: 'proxy', message, hint });
}

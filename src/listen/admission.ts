/** Who may come in, and how many: address lists, and limits by listener and by client address. */

import type { ListenerConfig } from '../config/schema/schema.ts';
import { ProxyError } from '../errors.ts';
import type { Quota } from '../ipc/quota.ts';
import { blockList, inBlockList, limitKey } from '../net/address.ts';
import type { AddressLimits, AddressVerdict } from './address-limits.ts';

/** The admission rules of one listener. What answers with a promise had to ask another process. */
export type Admission = {
  /** Counts a connection in, or throws ERR_CONNECTION_LIMIT. Each is counted out by `leave`. */
  readonly enter: () => Promise<void> | undefined;
  readonly leave: () => void;
  /** Whether the lists let the client in. */
  readonly allows: (client: string) => boolean;
  /**
   * Applies lists and per-address limits to the client's address, after a PROXY header if there is one. Answers with what
   * counts the client out again; throws ERR_ADDRESS_DENIED, ERR_CONNECTION_LIMIT_PER_IP or ERR_RATE_LIMIT_PER_IP.
   */
  readonly admit: (client: string) => Promise<() => void> | (() => void) | undefined;
};

/** The counts, which outlive a configuration; without limits by address there is nothing to ask. */
export type Counts = { readonly connections: Quota; readonly byAddress: AddressLimits | undefined };

export function createAdmission(
  config: Pick<ListenerConfig, 'allow' | 'deny' | 'limits'>,
  { connections, byAddress }: Counts,
): Admission {
  const allow = config.allow && blockList(config.allow);
  const deny = config.deny && blockList(config.deny);

  const checkEntered = (entered: boolean) => {
    if (entered) return undefined;
    throw refusal(
      'ERR_CONNECTION_LIMIT',
      `${config.limits.connections} connections are open`,
      'raise limits.connections',
    );
  };

  const allows = (client: string) =>
    !(deny && inBlockList(deny, client)) && !(allow && !inBlockList(allow, client));

  return {
    allows,
    enter() {
      const entered = connections.take();
      return typeof entered === 'boolean' ? checkEntered(entered) : entered.then(checkEntered);
    },
    leave: connections.give,
    admit(client) {
      if (!allows(client)) {
        throw refusal('ERR_ADDRESS_DENIED', `${client} is not let in`, "see the listener's allow and deny");
      }
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
  code:
    | 'ERR_ADDRESS_DENIED'
    | 'ERR_CONNECTION_LIMIT'
    | 'ERR_CONNECTION_LIMIT_PER_IP'
    | 'ERR_RATE_LIMIT_PER_IP',
  message: string,
  hint: string,
): ProxyError {
  return new ProxyError(code, { side: 'proxy', message, hint });
}

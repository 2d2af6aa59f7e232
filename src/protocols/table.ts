/** The protocols that penstock speaks before TLS. To add one: a folder, and a line here. */
import { nats } from './nats/index.ts';
import { postgres } from './postgres/index.ts';
import type { Protocol } from './protocol.ts';

export const protocols = { postgres, nats } satisfies Record<string, Protocol>;

/** As written in configurations and flags. */
export type ProtocolName = keyof typeof protocols;

export const protocolNames = Object.keys(protocols) as [ProtocolName, ...ProtocolName[]];

export function protocolOf(name: ProtocolName | undefined): Protocol | undefined {
  return name && protocols[name];
}

/** The checks that protocols bring along, named after them. */
import { Peek } from '../../peek/peek.ts';
import { type ProtocolName, protocolNames, protocols } from '../../protocols/table.ts';
import type { Check } from './check.ts';

export const ownChecks = Object.fromEntries(
  protocolNames.map((name) => [name, () => checkOf(name)]),
) as Record<ProtocolName, () => Check>;

function checkOf(name: ProtocolName): Check {
  const { check } = protocols[name];
  return {
    tls: 'configured',
    ask: (stream, { greeting, name }) => check.run(new Peek(stream, 'upstream'), greeting, name),
  };
}

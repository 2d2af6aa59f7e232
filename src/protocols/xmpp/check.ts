/** The health check: the header of a stream, for which the server begins one too. */
import { unhealthy } from '../faults.ts';
import type { Check } from '../protocol.ts';
import { begin, conditionIn, is } from './ask.ts';
import { namespaces } from './stream.ts';
import { type Condition, type Content, end } from './words.ts';

export function checkOf(content: Content): Check {
  return {
    passesIf: 'it begins a stream, and is neither overloaded nor about to stop',
    async run(server, _greeting, name) {
      const stream = await begin(content, server, { to: name }, unhealthy);
      const first = await stream.element();
      if (!is(first, 'error', namespaces.streams)) return Buffer.from(end);
      const condition = conditionIn(first) ?? 'undefined-condition';
      if (unready.has(condition)) throw unhealthy(`ends the stream with ${condition}`);
      return undefined;
    },
  };
}

/** With any other error, such as host-unknown, the server works. */
const unready: ReadonlySet<Condition> = new Set([
  'internal-server-error',
  'resource-constraint',
  'system-shutdown',
  'undefined-condition',
]);

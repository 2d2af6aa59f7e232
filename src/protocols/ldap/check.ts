/**
 * The health check: a search for the root entry, which servers answer to anybody. An anonymous bind would be
 * refused where those are forbidden, and counted as a failed login.
 */
import type { ProxyError } from '../../errors.ts';
import { unhealthy } from '../faults.ts';
import type { Check } from '../protocol.ts';
import { encode } from './ber.ts';
import {
  encodeMessage,
  type Message,
  operations,
  readMessage,
  resultCodeIn,
  results,
  tags,
} from './messages.ts';

export const check: Check = {
  passesIf: 'it answers a search for its root entry, and is neither busy nor unavailable',
  async run(server) {
    server.write(searchForRoot);
    for (let round = 0; round < maxMessages; round++) {
      const { operation, length } = await server.read(readNext);
      server.drop(length);
      if (operation.tag === operations.searchDone) return judge(resultCodeIn(operation));
      // It turns everybody away.
      if (operation.tag === operations.extendedResponse) throw withResult(resultCodeIn(operation));
    }
    throw unhealthy('does not finish its answer to a search');
  },
};

/** The entry, references, and the end. */
const maxMessages = 10;

/** Any answer but these shows that the server works: it may take only clients that it knows. */
const unready: readonly (number | undefined)[] = [results.busy, results.unavailable, undefined];

function judge(code: number | undefined): Buffer {
  if (unready.includes(code)) throw withResult(code);
  return unbind;
}

// SearchRequest ::= [APPLICATION 3] SEQUENCE { baseObject LDAPDN, scope ENUMERATED, derefAliases ENUMERATED,
//   sizeLimit INTEGER, timeLimit INTEGER, typesOnly BOOLEAN, filter Filter,
//   attributes SEQUENCE OF LDAPString }
const searchForRoot = encodeMessage(
  Buffer.of(1),
  encode(
    operations.search,
    encode(tags.octets),
    encode(tags.enumerated, Buffer.of(0)),
    encode(tags.enumerated, Buffer.of(0)),
    encode(tags.integer, Buffer.of(1)),
    encode(tags.integer, Buffer.of(0)),
    encode(tags.boolean, Buffer.of(0)),
    encode(0x87, 'objectClass'),
    // No attributes, RFC 4511 §4.5.1.8.
    encode(tags.sequence, encode(tags.octets, '1.1')),
  ),
);

const unbind = encodeMessage(Buffer.of(2), encode(operations.unbind));

function readNext(bytes: Buffer): Message | undefined {
  return readMessage(bytes, unhealthy);
}

function withResult(code: number | undefined): ProxyError {
  return unhealthy(
    code === undefined ? 'answers a search with something else' : `answers with result ${code}`,
  );
}

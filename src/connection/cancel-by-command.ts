/**
 * Brings a command that cancels what another connection does, such as MySQL's KILL, to the server that has
 * that connection. The client proves itself to one server only, before it says what it wants. So its login
 * has to be recognized, and where that is not possible, the command reaches a server that cannot help.
 */
import { abort, type Stream } from '../net/stream.ts';
import type { Cancelling } from '../protocols/protocol.ts';
import type { Dialled } from '../upstream/dial.ts';
import { isUp } from '../upstream/endpoint-state.ts';
import { deliverAll, type FoundSession } from './cancel-request.ts';
import { firstWord } from './first-word.ts';
import type { Outbound, PreparedUpstream } from './outbound.ts';
import type { Connection } from './state.ts';

/**
 * The same upstream, but the endpoint comes first that has the session for whose sake the client has come.
 */
export async function towardsSuspects(
  connection: Connection,
  cancelling: Cancelling,
  outbound: Outbound,
): Promise<Outbound> {
  const { upstream } = outbound;
  const { endpoints, resolve } = upstream.config;
  const name = endpoints.length > 1 || resolve.each_address ? cancelling.suspects() : undefined;
  if (name === undefined) return outbound;
  const found = await find(connection, name, 'mayLookAround');
  const labels = found.filter((it) => it.upstream === upstream.name).map(({ endpoint }) => endpoint);
  return labels.length === 0 ? outbound : preferring(outbound, labels);
}

function preferring(outbound: Outbound, labels: readonly string[]): Outbound {
  const { upstream } = outbound;
  return {
    ...outbound,
    upstream: {
      ...upstream,
      async pick(client, tried, signal) {
        const listed = tried.length === 0 ? await upstream.listed(signal) : [];
        const wanted = listed.find(({ label, state }) => labels.includes(label) && isUp(state));
        if (wanted === undefined) return upstream.pick(client, tried, signal);
        wanted.state.active += 1;
        return wanted;
      },
    },
  };
}

/**
 * In ms: how long the first command is waited for. A client that comes to cancel something does so at once,
 * and others need not be looked at for longer.
 */
const firstCommandWithin = 2000;

/**
 * Waits for a first command, and puts the server's own number into one that cancels something. All others
 * stay unread. Rejects only if the connection was ended from outside.
 */
export async function heedCommand(
  connection: Connection,
  cancelling: Cancelling,
  client: Stream,
  { endpoint, prepared }: Dialled<PreparedUpstream>,
): Promise<void> {
  const { record, listener } = connection;
  record.phase = 'splice';
  await firstWord(client, prepared.stream, firstCommandWithin);
  if (connection.missed) {
    abort(prepared.stream);
    throw connection.missed;
  }
  const command = cancelling.read(arrived(client));
  if (command === undefined) return;
  const found = await find(connection, command.name, 'mayCancel');
  const [session] = found;
  // If the session is over, the server itself says that it knows none.
  if (session?.number === undefined || found.length > 1 || client.stream.destroyed) return;
  const { stream } = client;
  stream.read(command.length);
  if (session.upstream !== record.upstream || session.endpoint !== endpoint.label) {
    stream.write(command.refusal);
    return;
  }
  stream.unshift(command.with(session.number));
  listener.logger.info(
    { conn: record.conn, client: record.client.address, endpoints: [endpoint.label] },
    'cancel request forwarded',
  );
}

/** What has arrived of a paused stream, which keeps it. */
function arrived({ stream }: Stream): Buffer {
  const bytes: Buffer | null = stream.read();
  if (bytes === null) return Buffer.alloc(0);
  stream.unshift(bytes);
  return bytes;
}

/** The client's sessions of this name, in this process or else in others. */
async function find(
  connection: Connection,
  name: string,
  may: 'mayCancel' | 'mayLookAround',
): Promise<readonly FoundSession[]> {
  const { record, listener } = connection;
  const { cancels } = listener;
  if (cancels === undefined) return [];
  const message = Buffer.from(name);
  const here = await deliverAll(connection, message);
  if (here.length > 0 || !cancels[may](record.client.address)) return here;
  return cancels.elsewhere(record.conn, record.client, message);
}

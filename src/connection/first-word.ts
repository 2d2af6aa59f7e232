/**
 * A warm connection may be closing just when a client gets it. Until the first byte, another can replace it.
 */
import type { UpstreamConfig } from '../config/schema/schema.ts';
import { abort, type Stream } from '../net/stream.ts';
import { Peek } from '../peek/peek.ts';
import type { Dialled } from '../upstream/dial.ts';
import { whyDown } from '../upstream/endpoint-state.ts';
import type { PreparedUpstream } from './outbound.ts';
import type { Connection } from './state.ts';

type Given = Dialled<PreparedUpstream>;

/**
 * When an upstream closes a silent connection, its FIN may still be on its way when a client gets that
 * connection, which would then end for no visible reason. So this waits for the first byte from either side,
 * for `max_age` at most. If the upstream leaves before, `redial` makes another connection. Afterwards both
 * sides are paused again, with all their bytes. Rejects with the error of `redial`, or with the reason why
 * the connection was ended from outside.
 */
export async function keepOrReplace(
  connection: Connection,
  client: Stream,
  given: Given,
  { warm, on_down }: UpstreamConfig,
  redial: () => Promise<Given>,
): Promise<Given> {
  const upstream = given.prepared.stream;
  const { record, listener } = connection;
  record.phase = 'splice';
  await firstWord(client, upstream, Math.min(warm?.max_age ?? 0, listener.config.timeouts.idle));
  if (connection.missed) {
    abort(upstream);
    throw connection.missed;
  }
  const isDown = on_down === 'close' && whyDown(given.endpoint.state) !== undefined;
  if (!isDown && !isGone(upstream)) return given;
  abort(upstream);
  record.phase = 'connect';
  // The client keeps its place under the upstream's limit, but counts at the new endpoint only.
  const { state } = given.endpoint;
  state.active -= 1;
  connection.undo.push(() => {
    state.active += 1;
  });
  const dialled = await redial();
  connection.undo.push(() => dialled.release());
  return dialled;
}

function isGone({ stream, raw }: Stream): boolean {
  return raw.destroyed || stream.destroyed || stream.readableEnded;
}

/**
 * Resolves when either side has said something or left, or after `ms`. Both are paused then, with all their
 * bytes.
 */
export async function firstWord(client: Stream, upstream: Stream, ms: number): Promise<void> {
  if (isGone(upstream) || client.stream.readableEnded) return;
  const sides = [new Peek(client.stream), new Peek(upstream.stream, 'upstream')];
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  const words = sides.map((side) => side.read(anything).catch(ignore));
  await Promise.race([over, ...words]);
  clearTimeout(timer);
  for (const { stream } of [client, upstream]) stream.pause();
  for (const side of sides) side.detach();
}

const anything = (bytes: Buffer) => bytes.length > 0 || undefined;

function ignore(): void {}

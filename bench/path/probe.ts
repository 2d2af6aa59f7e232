/**
 * Loaded into the process whose connections are counted (`--import`): begins and ends an instrument when bench/path/remote.ts says
 * so, by a unix socket. A command comes when the last one is answered, so each read is one whole command.
 */
import cluster from 'node:cluster';
import { createServer } from 'node:net';
import { isMainThread } from 'node:worker_threads';
import { type InstrumentName, instruments } from './instruments.ts';

export type Command =
  | { readonly kind: 'pid' }
  | { readonly kind: 'begin'; readonly instrument: InstrumentName }
  | { readonly kind: 'end'; readonly instrument: InstrumentName };

const path = process.env['PROBE_SOCKET'];
/** penstock's flags reach its supervisor and its threads, too. */
const isCounted = isMainThread && (process.env['PROBE_IN'] === 'worker' ? cluster.isWorker : true);

if (isCounted && path !== undefined) {
  const server = createServer((socket) => {
    socket.on('data', (text) => {
      const answer = obey(JSON.parse(text.toString()) as Command);
      socket.write(`${JSON.stringify(answer)}\n`);
    });
    socket.unref();
  });
  // Exclusive: not by way of the supervisor.
  server.listen({ path, exclusive: true }).unref();
}

function obey(command: Command): unknown {
  if (command.kind === 'pid') return process.pid;
  const instrument = instruments[command.instrument];
  if (command.kind === 'end') return instrument.end();
  instrument.begin();
  return 'begun';
}

/** A penstock or bare relay of bench/compare with the probe in it: its worker counts, and we say when. */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Launch } from '../compare/fronts.ts';
import { findPeer, type Peer, parsePeer } from '../compare/peers.ts';
import { type Ground, type RunningPeer, startPeer } from '../compare/site.ts';
import type { Counts, InstrumentName } from './instruments.ts';
import type { Command } from './probe.ts';

export const relays = ['penstock', 'bare'] as const;
export type RelayName = (typeof relays)[number];

export type Remote = {
  readonly running: RunningPeer;
  /** The process that serves. */
  readonly pid: number;
  /** What an instrument counts in there while `work` runs. */
  readonly count: (instrument: InstrumentName, work: () => Promise<void>) => Promise<Counts>;
};

/** Starts it; `stopPeer` of its `running` ends it. Throws with its last words. */
export async function startCounted(name: RelayName, ground: Ground): Promise<Remote> {
  const socketFile = join(ground.directory, `${name}.probe`);
  // One that was here before has left it.
  rmSync(socketFile, { force: true });
  const running = await startPeer(withProbe(findPeer(parsePeer(name)), name, socketFile), ground);
  const socket = connect(socketFile);
  socket.unref();
  await once(socket, 'connect');
  const pid = (await ask(socket, { kind: 'pid' })) as number;
  return {
    running,
    pid,
    async count(instrument, work) {
      await ask(socket, { kind: 'begin', instrument });
      await work();
      return (await ask(socket, { kind: 'end', instrument })) as Counts;
    },
  };
}

function withProbe(peer: Peer, name: RelayName, socketFile: string): Peer {
  const probe = join(import.meta.dirname, 'probe.ts');
  // Behind the program of Node; a supervisor passes it on to its worker.
  const launch = ({ command: [node, ...rest], ...others }: Launch): Launch => ({
    ...others,
    command: [node!, '--import', probe, ...rest],
  });
  return {
    ...peer,
    env: { ...peer.env, PROBE_SOCKET: socketFile, PROBE_IN: name === 'penstock' ? 'worker' : 'main' },
    prepare(site) {
      const prepared = peer.prepare(site);
      return { ...prepared, launches: prepared.launches.map(launch) };
    },
  };
}

/** One line is the answer. */
function ask(socket: Socket, command: Command): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onClose = () => reject(new Error('the counted process has ended'));
    const onData = (data: Buffer) => {
      text += data;
      if (!text.endsWith('\n')) return;
      socket.off('data', onData).off('close', onClose);
      resolve(JSON.parse(text));
    };
    socket.on('data', onData).on('close', onClose);
    socket.write(JSON.stringify(command));
  });
}

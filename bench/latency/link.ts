/**
 * A network namespace at the end of a slow link: each packet takes half of the round trip. By netem where the kernel has it;
 * else two TUN devices (socat) between which this process carries the packets and lets each one wait.
 */
import { execFileSync } from 'node:child_process';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { start } from '../compare/processes.ts';
import type { Far } from '../compare/site.ts';

export type Link = Far & {
  readonly by: 'netem' | 'TUN';
  /** Our own address on the link: where those at its end reach us. */
  readonly near: string;
};

const near = '10.213.7.1';
const far = '10.213.7.2';

/** Makes it; gone when we exit. Needs root. Throws with what a program said, or what is missing. */
export async function slowLink(roundTripMs: number, directory: string): Promise<Link> {
  const names = { space: `far-${process.pid}`, near: `near${process.pid}`, far: `far${process.pid}` };
  ip('netns', 'add', names.space);
  process.on('exit', () => quietly(() => ip('netns', 'del', names.space)));
  const by = withNetem(names, roundTripMs) ? 'netem' : 'TUN';
  if (by === 'TUN') await withTun(names, roundTripMs, directory);
  const inside = ['ip', 'netns', 'exec', names.space];
  ip('addr', 'add', `${near}/30`, 'dev', names.near);
  ip('link', 'set', names.near, 'up');
  ip('netns', 'exec', names.space, 'ip', 'addr', 'add', `${far}/30`, 'dev', names.far);
  for (const device of ['lo', names.far]) ip(...inside.slice(1), 'ip', 'link', 'set', device, 'up');
  return { address: far, prefix: inside, by, near };
}

type Names = { readonly space: string; readonly near: string; readonly far: string };

function withNetem(names: Names, roundTripMs: number): boolean {
  ip('link', 'add', names.near, 'type', 'veth', 'peer', 'name', names.far);
  try {
    const delay = ['root', 'netem', 'delay', `${roundTripMs / 2}ms`, 'limit', '100000'];
    execFileSync('tc', ['qdisc', 'add', 'dev', names.near, ...delay], { stdio: 'pipe' });
    execFileSync('tc', ['qdisc', 'add', 'dev', names.far, ...delay], { stdio: 'pipe' });
  } catch {
    ip('link', 'del', names.near);
    return false;
  }
  process.on('exit', () => quietly(() => ip('link', 'del', names.near)));
  ip('link', 'set', names.far, 'netns', names.space);
  return true;
}

async function withTun(names: Names, roundTripMs: number, directory: string): Promise<void> {
  const ends = await Promise.all([datagrams(), datagrams()]);
  const [one, other] = await Promise.all([
    device(names.near, ends[0], directory),
    device(names.far, ends[1], directory),
  ]);
  carry(ends[0], ends[1], other, roundTripMs / 2);
  carry(ends[1], ends[0], one, roundTripMs / 2);
  ip('link', 'set', names.far, 'netns', names.space);
}

async function datagrams(): Promise<Socket> {
  const socket = createSocket('udp4').unref();
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

/** A TUN device whose packets come to this socket; resolves with the port that takes packets for it. */
async function device(name: string, socket: Socket, directory: string): Promise<number> {
  const other = await datagrams();
  const { port } = other.address();
  await new Promise<void>((resolve) => other.close(() => resolve()));
  const udp = `UDP4:127.0.0.1:${socket.address().port},bind=127.0.0.1:${port}`;
  start({
    command: ['socat', `TUN,tun-name=${name},iff-no-pi`, udp],
    output: join(directory, `${name}.out`),
  });
  for (let tries = 0; tries < 100; tries += 1) {
    if (quietly(() => ip('link', 'show', name))) return port;
    await sleep(50);
  }
  throw new Error(`socat made no TUN device; see ${join(directory, `${name}.out`)}`);
}

function carry(from: Socket, to: Socket, port: number, ms: number): void {
  from.on('message', (packet) => {
    setTimeout(() => to.send(packet, port, '127.0.0.1'), ms);
  });
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: 'pipe' });
}

/** Whether it went well. */
function quietly(action: () => void): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}

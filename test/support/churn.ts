/** Load, reloads, crashes and new certificates at once, and a count of what was lost. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { connect, createSecureContext } from 'node:tls';
import { createAuthority } from './certificates.ts';
import { eventually } from './eventually.ts';
import { type Penstock, startPenstock } from './penstock.ts';
import { tcpUpstream } from './upstream.ts';

export type Churn = {
  readonly seconds: number;
  readonly connectionsPerSecond: number;
  readonly reloadsPerSecond: number;
  /** Seconds between kills of a worker; undefined: none is killed. */
  readonly killEvery?: number;
  /** Seconds between new certificates. */
  readonly rotateEvery: number;
};

export type ChurnCounts = {
  readonly connections: number;
  readonly served: number;
  /** Failed while a worker was killed: such a connection may have been that worker's. */
  readonly failedInKill: number;
  /** Failed for no reason that there should be. */
  readonly lost: readonly string[];
  readonly reloads: number;
  readonly failedReloads: number;
  readonly kills: number;
  readonly certificatesSeen: number;
};

type Outcome = { readonly from: number; readonly to: number; readonly error: string | undefined };

/** Runs it against a `penstock run` with two workers. */
export async function runChurn(t: Pick<TestContext, 'after'>, churn: Churn): Promise<ChurnCounts> {
  const authority = await createAuthority();
  const pairs = await Promise.all(
    [1, 2].map(() => authority.issue({ dns: ['churn.example'], usage: 'server' })),
  );
  const upstream = await tcpUpstream(t, (socket) => socket.pipe(socket));
  const [first = pairs[0]] = pairs;
  const penstock = await startPenstock(
    t,
    {
      workers: 2,
      certificates: { own: { cert: 'own.crt', key: 'own.key' } },
      listeners: {
        churn: { bind: '127.0.0.1:0', routes: [{ tls: { certificates: 'own' }, upstream: 'echo' }] },
      },
      upstreams: { echo: { endpoints: [`127.0.0.1:${upstream.port}`] } },
    },
    { files: { 'own.crt': first?.chain ?? '', 'own.key': first?.key ?? '' } },
  );
  const outcomes: Promise<Outcome>[] = [];
  const serials = new Set<string>();
  const kills: number[] = [];
  let rotations = 0;
  const secureContext = createSecureContext({ ca: authority.cert });
  const port = penstock.port('churn');

  const timers = [
    every(1 / churn.connectionsPerSecond, () => outcomes.push(visit(port, secureContext, serials))),
    every(1 / churn.reloadsPerSecond, () => penstock.child.kill('SIGHUP')),
    every(churn.rotateEvery, () => {
      rotations += 1;
      replacePair(penstock.directory, pairs[rotations % 2]);
    }),
    churn.killEvery === undefined ? undefined : every(churn.killEvery, () => killWorker(penstock, kills)),
  ];
  await new Promise((resolve) => setTimeout(resolve, churn.seconds * 1000));
  const reloads = () => penstock.log().filter(({ msg }) => msg === 'reloaded').length;
  // A machine with much else to do takes longer.
  await eventually(() => assert.ok(reloads() > 2 && serials.size === 2), 30_000);
  for (const timer of timers) clearInterval(timer);
  const ended = await Promise.all(outcomes);
  penstock.child.kill('SIGTERM');
  await penstock.exited;

  const failed = ended.filter(({ error }) => error !== undefined);
  const inKill = failed.filter(({ from, to }) => kills.some((at) => at >= from && at <= to));
  const log = penstock.log();
  return {
    connections: ended.length,
    served: ended.length - failed.length,
    failedInKill: inKill.length,
    lost: failed.filter((outcome) => !inKill.includes(outcome)).map(({ error }) => error ?? ''),
    reloads: reloads(),
    failedReloads: log.filter(({ msg }) => msg.startsWith('reload failed')).length,
    kills: kills.length,
    certificatesSeen: serials.size,
  };
}

function every(seconds: number, step: () => void): NodeJS.Timeout {
  return setInterval(step, seconds * 1000);
}

/** One connection: handshake, 64 bytes there and back, close. */
async function visit(
  port: number,
  secureContext: ReturnType<typeof createSecureContext>,
  serials: Set<string>,
): Promise<Outcome> {
  const from = performance.now();
  const socket = connect({ port, host: '127.0.0.1', servername: 'churn.example', secureContext });
  let error: string | undefined;
  let received = 0;
  socket.on('error', (cause) => {
    error = cause.message;
  });
  socket.once('secureConnect', () => {
    serials.add(socket.getPeerX509Certificate()?.serialNumber ?? '');
    socket.write(Buffer.alloc(64, 'x'));
  });
  socket.on('data', (chunk) => {
    received += chunk.length;
    if (received === 64) socket.end();
  });
  await once(socket, 'close').catch(() => {});
  if (received !== 64) error ??= `closed after ${received} of 64 bytes`;
  return { from, to: performance.now(), error };
}

/** The key first, then the certificate, each by rename: for a moment they do not fit. */
function replacePair(
  directory: string,
  pair: { readonly chain: string; readonly key: string } | undefined,
): void {
  if (pair === undefined) return;
  for (const [name, text] of [
    ['own.key', pair.key],
    ['own.crt', pair.chain],
  ] as const) {
    writeFileSync(join(directory, `${name}.new`), text, { mode: 0o600 });
    renameSync(join(directory, `${name}.new`), join(directory, name));
  }
}

/** Kills the oldest of its workers, unless the one killed before has not been replaced yet: somebody has to serve. */
function killWorker({ child, log }: Penstock, kills: number[]): void {
  if (log().filter(({ msg }) => msg === 'worker serving').length < 2 + kills.length) return;
  const [worker] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ');
  if (!worker) return;
  kills.push(performance.now());
  process.kill(Number(worker), 'SIGKILL');
}

/** Visits of well-behaved clients: each opens a connection, says what it came to say, and must be answered to the byte. */
import { randomInt } from 'node:crypto';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { converse, exchange } from './conversation.ts';
import type { Ledger, Visit } from './ledger.ts';
import type { Request } from './protocol.ts';
import { type Open, open, type Way } from './ways.ts';

/** Nothing takes that long, on a machine that is busy with other things either. */
const patienceMs = 120_000;
const kilobyte = 1024;

export type Visits = {
  /** A kilobyte there and back, or close to it. */
  readonly short: (way: Way) => Promise<void>;
  /** Megabytes up, down, or both at once. */
  readonly bulk: (way: Way) => Promise<void>;
  /** A megabyte down, read slowly. */
  readonly slow: (way: Way) => Promise<void>;
  /** All up, FIN, and only then all down. */
  readonly halfClose: (way: Way) => Promise<void>;
  /** Messages for so many seconds, or until all is to end. */
  readonly long: (way: Way, seconds: number, over: () => boolean) => Promise<void>;
};

export function createVisits(ledger: Ledger): Visits {
  const sessions = new Map<string, Buffer>();

  async function visit(
    way: Way,
    kind: string,
    patience: number,
    talk: (open: Open, visit: Visit) => Promise<void>,
  ): Promise<void> {
    const visit = ledger.begin(way.name, kind);
    let raw: Socket | undefined;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      raw?.destroy();
    }, patience);
    const onRaw = (connected: Socket) => {
      raw = connected;
      visit.ports.push(connected.localPort ?? 0);
    };
    try {
      const opened = await open(way, onRaw, sessions.get(way.name));
      if (way.name === 'resumed') keepSession(opened);
      await talk(opened, visit);
      ledger.end(visit, misdirected(way, opened, visit));
    } catch (error) {
      ledger.end(visit, late ? `took more than ${patience} ms` : (error as Error).message);
    } finally {
      clearTimeout(timer);
    }
  }

  function keepSession({ stream }: Open): void {
    (stream as TLSSocket).on('session', (session: Buffer) => sessions.set('resumed', session));
  }

  return {
    short(way) {
      const from = performance.now();
      const onAnswered = () =>
        ledger.took(way.name === 'direct' ? 'direct' : 'short', performance.now() - from);
      return visit(way, 'short', patienceMs, ({ stream }, it) =>
        exchange(stream, requestOf(it, { up: randomInt(1, 2048), down: randomInt(1, 2048) }), it.progress, {
          onAnswered,
        }),
      );
    },
    bulk: (way) =>
      visit(way, 'bulk', patienceMs, ({ stream }, it) => {
        const [up, down] = [megabytes(), megabytes()];
        const which = randomInt(3);
        const request = requestOf(it, { up: which === 0 ? 100 : up, down: which === 1 ? 100 : down });
        return exchange(stream, request, it.progress);
      }),
    slow: (way) =>
      visit(way, 'slow', patienceMs, ({ stream }, it) =>
        exchange(stream, requestOf(it, { up: 10, down: 1024 * kilobyte }), it.progress, { pauseMs: 80 }),
      ),
    halfClose: (way) =>
      visit(way, 'half-close', patienceMs, ({ stream }, it) => {
        const sizes = { up: randomInt(1, 256 * kilobyte), down: randomInt(1, 256 * kilobyte) };
        return exchange(stream, { ...requestOf(it, sizes), halfClose: true }, it.progress);
      }),
    long: (way, seconds, over) =>
      visit(way, 'long', seconds * 1000 + patienceMs, ({ stream }, it) => {
        const until = performance.now() + seconds * 1000;
        return converse(stream, { ...requestOf(it, { up: 0, down: 0 }), kind: 'echo' }, it.progress, {
          pauseMs: () => randomInt(300, 900),
          until: () => over() || performance.now() > until,
          onMessage: (ms) => ledger.took('message', ms),
        });
      }),
  };
}

export function requestOf({ id }: Visit, { up, down }: { up: number; down: number }): Request {
  return {
    kind: 'exchange',
    visit: id,
    seed: randomInt(1, 2 ** 31),
    up,
    down,
    halfClose: false,
    endpointEnds: id % 2 === 0,
  };
}

/** Whether somebody else answered than should, or was told of another client. */
function misdirected(way: Way, { claimed, port }: Open, { progress }: Visit): string | undefined {
  const { label = '', client = '' } = progress.greeting ?? {};
  if (!way.endpoints.includes(label)) return `${label} answered`;
  const expected = label === 'proxy' ? (claimed ?? `127.0.0.1:${port}`) : '';
  return client === expected ? undefined : `the endpoint was told of ${client}, not of ${expected}`;
}

function megabytes(): number {
  return randomInt(256 * kilobyte, 6 * 1024 * kilobyte);
}

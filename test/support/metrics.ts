/** Metrics as Prometheus reads them, and the facts that a supervisor would add. */
import { createRecord } from '../../src/connection/state.ts';
import type { SupervisorFacts } from '../../src/observe/families.ts';
import { createMetricsHub } from '../../src/observe/hub.ts';
import { createWorkerMetrics } from '../../src/observe/metrics.ts';

export type Sample = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
};

/** The samples of the text format. Throws on a line that is none. */
export function parseMetrics(text: string): Sample[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', labels = '', value = ''] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (name === '' || Number.isNaN(Number(value))) throw new Error(`not a sample: ${line}`);
      const pairs = [...labels.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)];
      return {
        name,
        labels: Object.fromEntries(pairs.map(([, key, text]) => [key, text])),
        value: Number(value),
      };
    });
}

/** Facts of a supervisor about which nothing else is known. */
export function factsOf(known: Partial<SupervisorFacts> = {}): SupervisorFacts {
  return {
    ready: true,
    listeners: [],
    endpoints: [],
    certificates: [],
    authorities: [],
    crls: [],
    reloads: { success: 0, failure: 0, lastSuccess: new Date('2026-11-02T08:00:00Z'), lastOk: true },
    workerCrashes: 0,
    cluster: undefined,
    ...known,
  };
}

/** Metrics with a series of every kind, as Prometheus would be told them. */
export function exampleMetrics(): Promise<string> {
  const metrics = createWorkerMetrics();
  const ended = createRecord('databases', 'c', { address: '192.0.2.1', port: 1024 });
  ended.route = 'orders';
  ended.tls = { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', resumed: true };
  ended.handshakeMs = 2;
  ended.queueMs = 1;
  ended.connectMs = 1;
  ended.upstream = 'orders';
  ended.side = 'client';
  ended.code = 'ERR_CLIENT_RESET';
  metrics.opened('databases');
  metrics.closed(ended);
  metrics.warmOf('orders').taken += 1;
  const hub = createMetricsHub({ version: '1.2.3' });
  hub.update(1, metrics.snapshot([]));
  const date = new Date('2026-11-30T08:00:00Z');
  return hub.render(
    factsOf({
      listeners: ['databases', 'cache'],
      endpoints: [
        {
          upstream: 'orders',
          endpoint: 'unix:/run/a "quoted"\\path\n.sock',
          up: true,
          drained: true,
          warm: 2,
        },
      ],
      certificates: [{ name: 'orders', notAfter: date }],
      authorities: [{ name: 'clients', notAfter: date }],
      crls: [{ authority: 'clients', nextUpdate: date }],
      cluster: {
        name: 'db-edge',
        machine: 'edge-1',
        connected: true,
        endpoint: 'https://192.0.2.1:2379',
        fault: null,
        silent_seconds: 0,
        source: 'etcd',
        revision: 412,
        held: [],
        alarm: null,
        events_lost: 0,
        leads: true,
        tickets: { generation: 3, rotated: '2026-11-02T08:00:00Z' },
        machines: [],
      },
    }),
  );
}

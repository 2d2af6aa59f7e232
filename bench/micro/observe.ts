/** What is counted and written of each connection. */
import type { Bench } from 'tinybench';
import { createRecord } from '../../src/connection/state.ts';
import { type AccessRecord, logClosed } from '../../src/observe/access-log.ts';
import { createLogger } from '../../src/observe/log.ts';
import { createWorkerMetrics } from '../../src/observe/metrics.ts';

const record: AccessRecord = {
  ...createRecord('databases', 'k3x9p2-1f', { address: '192.0.2.1', port: 53953 }),
  route: 'orders',
  sni: 'orders.db.example.com',
  alpn: 'postgresql',
  ja4: 't13d1516h2_8daaf6152771_02713d6af862',
  tls: { version: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256', resumed: false },
  upstream: 'orders',
  endpoint: '10.0.1.5:5432',
  handshakeMs: 2.1,
  connectMs: 0.4,
  phase: 'splice',
  side: 'client',
};

/** Adds the tasks of this file. */
export function addTo(bench: Bench): void {
  const logger = createLogger('info', { write() {} });
  const metrics = createWorkerMetrics();
  bench
    .add('access log: a line', () => logClosed(logger, record))
    .add('metrics: a connection', () => {
      metrics.opened('databases');
      metrics.closed(record);
    })
    .add('metrics: a snapshot with 1,000 live', () => void metrics.snapshot(thousand));
}

const thousand = Array.from({ length: 1000 }, () => record);

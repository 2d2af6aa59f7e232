/** Whether a connection is let in, and which endpoint it takes. */
import type { Bench } from 'tinybench';
import { configSchema } from '../../src/config/schema/schema.ts';
import { localQuota } from '../../src/ipc/quota.ts';
import { createAddressLimits } from '../../src/listen/address-limits.ts';
import { createAdmission } from '../../src/listen/admission.ts';
import { LightAbortSignal } from '../../src/net/abort-signal.ts';
import { createBalancer } from '../../src/upstream/balance.ts';
import { Deadline } from '../../src/upstream/deadline.ts';

/** Adds the tasks of this file. */
export function addTo(bench: Bench): void {
  const open = admission({});
  const strict = admission({
    allow: ['10.0.0.0/8', '192.0.2.0/24', '2001:db8::/32'],
    deny: ['10.6.6.0/24'],
    limits: { connections_per_ip: 100, rate_per_ip: '1000000/s' },
  });
  const never = new LightAbortSignal();
  const lateness = new Error('too late');
  bench
    .add('admission, no lists', () => letThrough(open))
    .add('admission, lists and limits by address', () => letThrough(strict))
    .add('deadline of a dial', () => new Deadline(3000, never, () => lateness).stop());
  for (const kind of ['round_robin', 'least_connections', 'random_two', 'hash'] as const) {
    const balance = createBalancer(kind);
    bench.add(`balance: ${kind} of 10`, () => void balance(candidates, '192.0.2.1'));
  }
}

const candidates = Array.from({ length: 10 }, (_, index) => ({
  label: `10.0.1.${index}:5432`,
  weight: 1 + (index % 3),
  priority: 0,
  state: { active: index },
}));

function admission(listener: object): ReturnType<typeof createAdmission> {
  const { listeners } = configSchema.parse({
    listeners: { in: { bind: '127.0.0.1:0', routes: [{ tls: 'off', upstream: 'app' }], ...listener } },
    upstreams: { app: { endpoints: ['127.0.0.1:9'] } },
  });
  const config = listeners['in']!; // just written
  return createAdmission(config, {
    connections: localQuota(20_000),
    byAddress: createAddressLimits(config.limits),
  });
}

function letThrough({ enter, leave, admit }: ReturnType<typeof createAdmission>): void {
  void enter();
  const out = admit('192.0.2.1');
  if (typeof out === 'function') out();
  leave();
}

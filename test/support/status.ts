/** A status to show, and an admin endpoint that tells it. */
import type { TestContext } from 'node:test';
import { type Admin, type AdminOptions, startAdmin } from '../../src/observe/admin.ts';
import type { AdminSource } from '../../src/observe/admin-source.ts';
import type { Status } from '../../src/observe/status.ts';

/** Everything that a status can hold, with something of each kind. `tick` is its age in seconds: counters grow with it. */
export function sampleStatus(tick = 0): Status {
  const startedAt = Date.parse('2026-11-02T08:00:00Z');
  const wave = Math.round(40 * Math.sin(tick / 3));
  const ago = (seconds: number) => new Date(startedAt + 93_600_000 + (tick - seconds) * 1000).toISOString();
  return {
    version: '1.2.3',
    node: 'v26.10.0',
    host: 'db-front-1',
    pid: 4100,
    at: new Date(startedAt + 93_600_000 + tick * 1000).toISOString(),
    started_at: new Date(startedAt).toISOString(),
    ready: true,
    draining: false,
    log_level: 'info',
    problems: [
      { severity: 'bad', text: 'certificate proxy-client expires in 2 days' },
      { severity: 'warn', text: '10.0.9.9:5432 is down in orders' },
    ],
    workers: [
      worker(1, { state: 'ready', connections: 812, cpu_seconds: 2400 + tick * 0.42 }),
      worker(2, { state: 'ready', connections: 790, cpu_seconds: 2380 + tick * 0.39 }),
      worker(3, { state: 'draining', connections: 3, cpu_seconds: 900 }),
    ],
    listeners: [
      {
        name: 'databases',
        addresses: ['0.0.0.0:5432', '[::]:5432'],
        active: 1580 + wave,
        total: 1_204_331 + tick * 118 + wave,
        outcomes: { ok: 1_198_200 + tick * 117, error: 3_120 + tick, refused: 1_431, probe: 7_204 },
        errors: [
          { side: 'client', code: 'ERR_CLIENT_RESET', count: 2_890 + tick },
          {
            side: 'client',
            code: 'ERR_CLIENT_CERT_NOT_ALLOWED',
            count: 1_431,
            last: {
              at: ago(330),
              conn: 'a84pbu-7f3',
              client: '10.1.4.17:50412',
              error: 'no entry of allow lets in CN=reports-2',
            },
          },
          { side: 'upstream', code: 'ERR_UPSTREAM_CONNECT', count: 230 },
        ],
        bytes: {
          in: 48_210_998_123 + tick * 1_310_000,
          out: 912_387_123_998 + tick * 18_500_000 + wave * 900_000,
        },
        routes: [
          route('orders', 1201, 1_000_000 + tick * 110),
          route('reports', 379, 198_000 + tick * 7),
          { ...route('', 0, 0), outcomes: { ok: 0, error: 0, refused: 1_431, probe: 7_204 } },
        ],
      },
      {
        name: 'cache-in',
        addresses: ['127.0.0.1:6380'],
        active: 25,
        total: 20_117 + tick * 2,
        outcomes: { ok: 20_000 + tick * 2, error: 12, refused: 0, probe: 0 },
        errors: [{ side: 'proxy', code: 'ERR_IDLE_TIMEOUT', count: 12 }],
        bytes: { in: 9_120_998, out: 88_123_001 + tick * 900 },
        routes: [route(0, 25, 20_000 + tick * 2)],
      },
    ],
    upstreams: [
      {
        name: 'orders',
        endpoints: [
          { label: '10.0.1.5:5432', state: 'up', since: null, active: 1201, check_ms: 1.4 },
          { label: '10.0.1.6:5432', state: 'slow_start', since: ago(150), share: 0.4, active: 380 },
          {
            label: '10.0.9.9:5432',
            state: 'down',
            since: ago(7_500),
            active: 0,
            last_error: '10.0.9.9:5432 did not answer within 2000 ms',
          },
        ],
      },
      {
        name: 'cache',
        endpoints: [
          {
            label: 'unix:/run/redis/redis.sock',
            state: 'unchecked',
            since: null,
            active: 25,
            last_error: 'unix:/run/redis/redis.sock does not exist (ENOENT)',
            last_error_at: ago(330),
          },
          {
            label: '10.0.2.2:6379',
            state: 'ejected',
            since: ago(630),
            until: ago(-1230),
            active: 0,
            last_error: '10.0.2.2:6379 refused the connection (ECONNREFUSED)',
            last_error_at: ago(630),
          },
        ],
      },
    ],
    certificates: [
      certificate('orders', ['orders.db.example.com'], 64),
      certificate('wildcard', ['*.tenants.example.com', 'tenants.example.com'], 12),
      certificate('proxy-client', ['spiffe://example.com/penstock'], 2),
    ],
    authorities: [
      {
        name: 'clients',
        expires: '2031-05-01T00:00:00.000Z',
        days_left: 1640,
        crl_next_update: '2026-11-05T00:00:00.000Z',
        crl_days_left: 1,
      },
      {
        name: 'internal',
        expires: '2029-01-01T00:00:00.000Z',
        days_left: 790,
        crl_next_update: null,
        crl_days_left: null,
      },
    ],
    cluster: {
      name: 'db-edge',
      machine: 'edge-1',
      connected: true,
      endpoint: 'https://10.0.0.1:2379',
      fault: null,
      silent_seconds: 0,
      source: 'etcd',
      revision: 412,
      held: [
        {
          object: 'certificates/billing',
          faults: ['/penstock/db-edge/config/certificates/billing key: it is not the key of cert'],
          serving: 'its earlier version',
        },
      ],
      alarm: null,
      events_lost: 0,
      leads: false,
      tickets: { generation: 7, rotated: ago(3600) },
      machines: [
        machine('edge-1', { held: 1 }),
        machine('edge-2', { leads: true }),
        machine('edge-3', { revision: 411 }),
      ],
    },
    last_reload: {
      at: '2026-11-03T09:59:00.000Z',
      ok: false,
      faults: [
        'penstock.yaml:14:19 listeners.databases.routes[0].upstream: no upstream is called "order"; did you mean "orders"?',
      ],
    },
  };
}

/** Starts one that is closed after the test. What `source` does not say is answered from the sample. */
export async function startSampleAdmin(
  t: Pick<TestContext, 'after'>,
  options: { bind?: string; source?: Partial<AdminSource>; timeouts?: AdminOptions['timeouts'] } = {},
): Promise<Admin & { readonly port: number }> {
  const source: AdminSource = {
    metrics: async () => 'penstock_ready 1\n',
    healthy: () => true,
    ready: () => true,
    status: () => sampleStatus(),
    reload: async () => ({ ok: true, faults: [] }),
    commands: {
      sessions: async () => ({ total: 0, sessions: [] }),
      kill: async (conn) => ({ ok: true, conn }),
      drain: async (place) => ({ ok: true, ...place, open: 0, serving: [] }),
      undrain: async (place) => ({ ok: true, ...place, open: 0, serving: [] }),
      logLevel: async (level) => ({ ok: true, level }),
    },
    ...options.source,
  };
  const admin = await startAdmin(options.bind ?? '127.0.0.1:0', source, { timeouts: options.timeouts });
  t.after(() => admin.close());
  return { ...admin, port: Number(admin.address.split(':').at(-1)) };
}

function worker(
  id: number,
  told: Pick<Status['workers'][number], 'state' | 'connections' | 'cpu_seconds'>,
): Status['workers'][number] {
  return { id, pid: 4100 + id, rss: 96_000_000 + id * 1_000_000, busy_seconds: told.cpu_seconds, ...told };
}

function machine(
  name: string,
  told: Partial<NonNullable<Status['cluster']>['machines'][number]>,
): NonNullable<Status['cluster']>['machines'][number] {
  const since = '2026-11-02T08:00:00.000Z';
  return { name, version: '1.2.3', revision: 412, held: 0, alarm: null, leads: false, since, ...told };
}

function route(
  name: string | number,
  active: number,
  ok: number,
): Status['listeners'][number]['routes'][number] {
  const outcomes = { ok, error: 12, refused: 0, probe: 0 };
  return { route: name, active, outcomes, bytes: { in: ok * 400, out: ok * 7000 } };
}

function certificate(name: string, names: string[], days: number): Status['certificates'][number] {
  const expires = new Date(Date.parse('2026-11-03T10:00:00Z') + days * 86_400_000).toISOString();
  return { name, key_type: 'ec', names, expires, days_left: days, pin: `sha256:${name.padEnd(43, 'A')}=` };
}

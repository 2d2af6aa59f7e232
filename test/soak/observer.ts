/** Looks at a running penstock every few seconds: what its processes hold, and what it says of itself. */
import { http } from '../support/http.ts';
import { type Sample as Metric, parseMetrics } from '../support/metrics.ts';
import { factsOf, type ProcessFacts } from './linux.ts';

/** One process at one moment. `id` is `supervisor` or the worker's number. */
export type ProcessSample = ProcessFacts & {
  readonly id: string;
  readonly pid: number;
  readonly state: string;
  readonly heap: number;
  /** Open connections of clients. */
  readonly connections: number;
  /** Node's active resources in all, and by type. */
  readonly resources: number;
  readonly types: Readonly<Record<string, number>>;
};

export type Sample = {
  readonly type: 'sample' | 'idle';
  readonly at: number;
  /** Seconds since the load began. */
  readonly t: number;
  readonly processes: readonly ProcessSample[];
  /** Series of the metrics, and of those the ones that neither a worker nor a code labels. */
  readonly series: number;
  readonly fixedSeries: number;
  readonly active: number;
  readonly ended: number;
  /** Endpoints that are held to be up. */
  readonly endpointsUp: number;
  /** Of the soak's own process: CPU seconds, memory, and the longest that it kept anything waiting, in ms. */
  readonly driver: { readonly cpu: number; readonly rss: number; readonly lagMs: number };
  readonly endpointsCpu: number;
};

export type Status = {
  readonly workers: readonly {
    readonly id: number;
    readonly pid: number;
    readonly state: string;
    readonly connections: number;
  }[];
};

export async function statusOf(admin: string): Promise<Status> {
  return JSON.parse((await http(admin, '/status')).body) as Status;
}

export async function metricsOf(admin: string): Promise<Metric[]> {
  return parseMetrics((await http(admin, '/metrics')).body);
}

/** The sum of a metric's series with these labels. */
export function sumOf(metrics: readonly Metric[], name: string, labels: Record<string, string> = {}): number {
  return metrics
    .filter(
      (it) => it.name === name && Object.entries(labels).every(([key, value]) => it.labels[key] === value),
    )
    .reduce((sum, { value }) => sum + value, 0);
}

/** A sample without what the driver knows of itself. */
export async function observe(
  admin: string,
  supervisorPid: number,
): Promise<Omit<Sample, 'type' | 'at' | 't' | 'driver' | 'endpointsCpu'>> {
  const metrics = await metricsOf(admin);
  const { workers } = await statusOf(admin);
  const all = [
    { id: 'supervisor', pid: supervisorPid, state: 'ready', connections: 0 },
    ...workers.map((worker) => ({ ...worker, id: `${worker.id}` })),
  ];
  const processes = all.flatMap((one): ProcessSample[] => {
    const facts = factsOf(one.pid);
    if (facts === undefined) return [];
    const own = metrics.filter(({ labels }) => labels['worker'] === one.id);
    const types = Object.fromEntries(
      own
        .filter(({ name }) => name === 'nodejs_active_resources')
        .map(({ labels, value }) => [labels['type'] ?? '', value]),
    );
    return [
      {
        ...facts,
        id: one.id,
        pid: one.pid,
        state: one.state,
        connections: one.connections,
        heap: sumOf(own, 'nodejs_heap_size_used_bytes'),
        resources: sumOf(own, 'nodejs_active_resources'),
        types,
      },
    ];
  });
  return {
    processes,
    series: metrics.length,
    fixedSeries: metrics.filter(({ labels }) => !('worker' in labels) && !('code' in labels)).length,
    active: sumOf(metrics, 'penstock_connections_active'),
    ended: sumOf(metrics, 'penstock_connections_total'),
    endpointsUp: sumOf(metrics, 'penstock_upstream_endpoint_up'),
  };
}

/**
 * The supervisor's side of the metrics: adds up what workers count, keeps what ended
 * workers counted, and publishes it.
 */
import { formatAddress } from '../net/address.ts';
import { type Family, formatFamilies } from './exposition.ts';
import {
  buildFamily,
  connectionFamilies,
  processFamilies,
  type SupervisorFacts,
  supervisorFamilies,
} from './families.ts';
import {
  addTotals,
  countsOf,
  emptyTotals,
  type LastEnding,
  type ListenerCounts,
  type MetricsSnapshot,
  noOutcomes,
  outcomes,
  type ProcessUse,
  processUse,
  type Totals,
} from './metrics.ts';
import type { ListenerStatus, RouteStatus, Status, WorkerState, WorkerStatus } from './status.ts';

export type MetricsHub = {
  /**
   * Replaces a worker's previous counts. Counts of a worker that was retired just before are still accepted.
   */
  readonly update: (workerId: number, snapshot: MetricsSnapshot) => void;
  /** Call it when a worker has ended: keeps its totals, and drops its open connections and its process. */
  readonly retire: (workerId: number) => void;
  /** All metrics. */
  readonly families: (facts: SupervisorFacts) => readonly Family[];
  /** The same in Prometheus' text format. */
  readonly render: (facts: SupervisorFacts) => Promise<string>;
  /** The parts of a Status that come from metrics. */
  readonly describe: (known: {
    readonly listeners: readonly Configured[];
    readonly workers: readonly { readonly id: number; readonly pid: number; readonly state: WorkerState }[];
  }) => Pick<Status, 'listeners' | 'workers'>;
};

/** For how many ended workers we still accept counts that were on their way. */
const remembered = 64;

export function createMetricsHub(options: { readonly version: string; readonly node?: string }): MetricsHub {
  const living = new Map<number, MetricsSnapshot>();
  /** In the order in which they ended; undefined for workers that never sent any counts. */
  const ended = new Map<number, MetricsSnapshot | undefined>();
  const past = emptyTotals();

  function retire(workerId: number): void {
    if (ended.has(workerId)) return;
    ended.set(workerId, living.get(workerId));
    living.delete(workerId);
    const [oldest] = ended;
    if (ended.size <= remembered || oldest === undefined) return;
    const [id, snapshot] = oldest;
    ended.delete(id);
    if (snapshot) addTotals(past, asEnded(snapshot));
  }

  /** The counts of all workers; for ended ones, without open connections. */
  function totals(): Totals {
    const sum = emptyTotals();
    addTotals(sum, past);
    for (const snapshot of ended.values()) if (snapshot) addTotals(sum, asEnded(snapshot));
    for (const snapshot of living.values()) addTotals(sum, snapshot);
    return sum;
  }

  function families(facts: SupervisorFacts): readonly Family[] {
    const sum = totals();
    for (const name of facts.listeners) countsOf(sum, name);
    const processes = new Map<string, ProcessUse>([['supervisor', processUse()]]);
    for (const [id, snapshot] of living) processes.set(`${id}`, snapshot.process);
    return [
      ...connectionFamilies(sum),
      ...supervisorFamilies(facts),
      ...processFamilies(processes),
      buildFamily(options.version, options.node ?? process.version),
    ];
  }

  return {
    update(workerId, snapshot) {
      if (ended.has(workerId)) ended.set(workerId, snapshot);
      else living.set(workerId, snapshot);
    },
    retire,
    families,
    render: (facts) => formatFamilies(families(facts)),
    describe({ listeners, workers }) {
      const sum = totals();
      const configured = listeners.map((one) => describeListener(one, countsOf(sum, one.name)));
      const names = new Set(listeners.map(({ name }) => name));
      const former = [...sum.listeners]
        .filter(([name, { opened, closed }]) => !names.has(name) && opened > closed)
        .map(([name, counts]) => describeListener({ name, addresses: [] }, counts));
      return {
        listeners: [...configured, ...former],
        workers: workers.map((worker) => describeWorker(worker, living.get(worker.id))),
      };
    },
  };
}

/** Open connections ended together with their worker. They have no outcome, because none was reported. */
function asEnded({ listeners, connects, queues, warm }: MetricsSnapshot): Totals {
  const settled = [...listeners].map(([name, counts]): [string, ListenerCounts] => [
    name,
    { ...counts, closed: counts.opened, traffic: withoutActive(counts) },
  ]);
  return { listeners: new Map(settled), connects, queues, warm };
}

function withoutActive({ traffic }: ListenerCounts): ListenerCounts['traffic'] {
  return new Map([...traffic].map(([route, counts]) => [route, { ...counts, active: 0 }]));
}

type Configured = Pick<ListenerStatus, 'name' | 'addresses' | 'limit'>;

function describeListener({ name, addresses, limit }: Configured, counts: ListenerCounts): ListenerStatus {
  const sum = noOutcomes();
  for (const ofRoute of counts.outcomes.values()) {
    for (const outcome of outcomes) sum[outcome] += ofRoute[outcome];
  }
  const errors = (['client', 'upstream', 'proxy'] as const).flatMap((side) =>
    [...counts.errors[side]].map(([code, count]) => {
      const last = counts.latest[side].get(code);
      return { side, code, count, last: last && describeEnding(last) };
    }),
  );
  return {
    name,
    addresses,
    active: counts.opened - counts.closed,
    limit,
    total: counts.opened,
    outcomes: sum,
    errors: errors.sort((a, b) => b.count - a.count),
    bytes: { in: counts.bytesIn, out: counts.bytesOut },
    routes: describeRoutes(counts),
  };
}

function describeEnding({ at, conn, client, error }: LastEnding) {
  return { at: new Date(at).toISOString(), conn, client: formatAddress(client), error };
}

function describeRoutes({ traffic, outcomes }: ListenerCounts): RouteStatus[] {
  const routes = [...traffic].map(([route, { active, bytesIn, bytesOut }]) => ({
    route,
    active,
    outcomes: outcomes.get(route) ?? noOutcomes(),
    bytes: { in: bytesIn, out: bytesOut },
  }));
  const size = ({ bytes }: RouteStatus) => bytes.in + bytes.out;
  return routes.sort((a, b) => size(b) - size(a) || b.active - a.active);
}

function describeWorker(
  worker: Pick<WorkerStatus, 'id' | 'pid' | 'state'>,
  snapshot: MetricsSnapshot | undefined,
): WorkerStatus {
  const { id, pid, state } = worker;
  let connections = 0;
  for (const { opened, closed } of snapshot?.listeners.values() ?? []) connections += opened - closed;
  return {
    id,
    pid,
    state,
    connections,
    rss: snapshot?.process.residentBytes ?? 0,
    cpu_seconds: snapshot?.process.cpuSeconds ?? 0,
    busy_seconds: snapshot?.process.busySeconds ?? 0,
    descriptors: snapshot?.descriptors,
  };
}

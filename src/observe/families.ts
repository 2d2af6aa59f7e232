/** The metrics of docs/operations.md: names, meaning, labels. No label value can be chosen by a client. */
import { counter, type Family, gauge, histogram, type Labels } from './exposition.ts';
import { type ListenerCounts, type ProcessUse, type Totals, warmOutcomes } from './metrics.ts';
import type { ClusterStatus } from './status.ts';

/** What the supervisor knows besides the workers' counts. */
export type SupervisorFacts = {
  readonly ready: boolean;
  /** All configured listeners: they are listed even before their first client. */
  readonly listeners: readonly string[];
  /** The configured endpoints, without those that a template makes from clients' names. */
  readonly endpoints: readonly {
    readonly upstream: string;
    readonly endpoint: string;
    readonly up: boolean;
    /** Absent: no operator has taken it out of service. */
    readonly drained?: boolean | undefined;
    /** Absent if none are kept ready to it. */
    readonly warm?: number | undefined;
  }[];
  /** If a name occurs several times, the first to expire counts. The same goes for authorities and CRLs. */
  readonly certificates: readonly { readonly name: string; readonly notAfter: Date }[];
  readonly authorities: readonly { readonly name: string; readonly notAfter: Date }[];
  readonly crls: readonly { readonly authority: string; readonly nextUpdate: Date }[];
  readonly reloads: {
    readonly success: number;
    readonly failure: number;
    /** The start counts as one. */
    readonly lastSuccess: Date;
    /** Whether we serve what the last attempt read. */
    readonly lastOk: boolean;
  };
  /** Workers that ended without being asked to. */
  readonly workerCrashes: number;
  /** undefined without `cluster`. */
  readonly cluster: ClusterStatus | undefined;
};

/** What workers have counted. */
export function connectionFamilies({ listeners, connects, queues, warm }: Totals): Family[] {
  const each = <T>(make: (labels: { listener: string }, counts: ListenerCounts) => T[]): T[] =>
    [...listeners].flatMap(([listener, counts]) => make({ listener }, counts));
  return [
    counter(
      'penstock_connections_total',
      'Connections that have ended, by route and by how: ok, error, or refused by a rule or a limit.',
      each((labels, { outcomes }) =>
        [...outcomes].flatMap(([route, counts]) =>
          Object.entries(counts).map(([outcome, value]) => ({
            labels: { ...labels, route: `${route}`, outcome },
            value,
          })),
        ),
      ),
    ),
    gauge(
      'penstock_connections_active',
      'Open connections.',
      each((labels, { opened, closed }) => [{ labels, value: opened - closed }]),
    ),
    counter(
      'penstock_bytes_total',
      'Payload from (in) and to (out) clients, of open connections too.',
      each((labels, { bytesIn, bytesOut }) => [
        { labels: { ...labels, direction: 'in' }, value: bytesIn },
        { labels: { ...labels, direction: 'out' }, value: bytesOut },
      ]),
    ),
    counter(
      'penstock_connection_errors_total',
      'Connections that ended with a code, by the side that was at fault.',
      each((labels, { errors }) =>
        Object.entries(errors).flatMap(([side, codes]) =>
          [...codes].map(([code, value]) => ({ labels: { ...labels, side, code }, value })),
        ),
      ),
    ),
    histogram(
      'penstock_handshake_seconds',
      'Completed TLS handshakes with clients.',
      each((labels, { handshakes: { full, resumed } }) => [
        { labels: { ...labels, resumed: 'false' }, histogram: full },
        { labels: { ...labels, resumed: 'true' }, histogram: resumed },
      ]),
    ),
    ...dialFamilies({ connects, queues, warm }),
  ];
}

function dialFamilies({ connects, queues, warm }: Pick<Totals, 'connects' | 'queues' | 'warm'>): Family[] {
  return [
    histogram(
      'penstock_upstream_connect_seconds',
      'Successful dials, from the choice of an endpoint until it is ready for payload, retries included.',
      [...connects].map(([upstream, histogram]) => ({ labels: { upstream }, histogram })),
    ),
    histogram(
      'penstock_upstream_queue_seconds',
      'Waits for a connection to a full upstream, of those clients that had to wait, whatever came of it.',
      [...queues].map(([upstream, histogram]) => ({ labels: { upstream }, histogram })),
    ),
    counter(
      'penstock_upstream_warm_total',
      'Warm connections by what became of them (taken by a client, closed by the upstream, expired), and clients that found none (missed).',
      [...warm].flatMap(([upstream, counts]) =>
        warmOutcomes.map((outcome) => ({ labels: { upstream, outcome }, value: counts[outcome] })),
      ),
    ),
  ];
}

/** What the supervisor knows. */
export function supervisorFamilies(facts: SupervisorFacts): Family[] {
  const { reloads } = facts;
  const one = (value: number) => [{ labels: {}, value }];
  return [
    gauge('penstock_ready', '1 while new connections are taken.', one(facts.ready ? 1 : 0)),
    gauge(
      'penstock_upstream_endpoint_up',
      '1 if the endpoint is held to be up, 0 if it is held to be down.',
      facts.endpoints.map(({ upstream, endpoint, up }) => ({
        labels: { upstream, endpoint },
        value: up ? 1 : 0,
      })),
    ),
    gauge(
      'penstock_upstream_endpoint_drained',
      '1 if an operator has taken the endpoint out of service.',
      facts.endpoints.map(({ upstream, endpoint, drained }) => ({
        labels: { upstream, endpoint },
        value: drained ? 1 : 0,
      })),
    ),
    gauge(
      'penstock_upstream_warm_connections',
      'Connections that are ready for clients to come (upstreams with `warm`).',
      facts.endpoints.flatMap(({ upstream, endpoint, warm }) =>
        warm === undefined ? [] : [{ labels: { upstream, endpoint }, value: warm }],
      ),
    ),
    gauge(
      'penstock_certificate_expiry_timestamp_seconds',
      'When the certificate expires, or the first of its pairs and issuers.',
      earliest(facts.certificates.map(({ name, notAfter }) => [{ certificate: name }, notAfter])),
    ),
    gauge(
      'penstock_authority_expiry_timestamp_seconds',
      'When the first CA certificate of the authority expires.',
      earliest(facts.authorities.map(({ name, notAfter }) => [{ authority: name }, notAfter])),
    ),
    gauge(
      'penstock_crl_expiry_timestamp_seconds',
      'When the first CRL of the authority is out of date: from then on it lets nobody in.',
      earliest(facts.crls.map(({ authority, nextUpdate }) => [{ authority }, nextUpdate])),
    ),
    counter('penstock_config_reloads_total', 'Reloads of the configuration, the start not counted.', [
      { labels: { result: 'success' }, value: reloads.success },
      { labels: { result: 'failure' }, value: reloads.failure },
    ]),
    gauge(
      'penstock_config_last_reload_success_timestamp_seconds',
      'When the configuration that is served was loaded.',
      one(reloads.lastSuccess.getTime() / 1000),
    ),
    gauge(
      'penstock_config_last_reload_successful',
      '0 if the last reload failed: the files are not what is served.',
      one(reloads.lastOk ? 1 : 0),
    ),
    counter(
      'penstock_worker_crashes_total',
      'Workers that ended without having been told to.',
      one(facts.workerCrashes),
    ),
    ...(facts.cluster ? clusterFamilies(facts.cluster) : []),
  ];
}

function clusterFamilies(cluster: ClusterStatus): Family[] {
  const one = (value: number) => [{ labels: {}, value }];
  const { tickets } = cluster;
  const age = tickets ? (Date.now() - Date.parse(tickets.rotated)) / 1000 : 0;
  return [
    gauge('penstock_cluster_connected', '1 while etcd is followed.', one(cluster.connected ? 1 : 0)),
    gauge(
      'penstock_cluster_silent_seconds',
      'For how long etcd has not been followed.',
      one(cluster.silent_seconds),
    ),
    gauge('penstock_cluster_revision', 'The revision of etcd that is served.', one(cluster.revision)),
    gauge(
      'penstock_cluster_held_objects',
      'Objects that are faulty: an earlier version serves, or what depends on them is refused.',
      one(cluster.held.length),
    ),
    gauge(
      'penstock_cluster_held_back',
      '1 if a newer state is not served as a whole, since most objects have vanished from it.',
      one(cluster.alarm === null ? 0 : 1),
    ),
    gauge('penstock_cluster_machines', 'Machines that etcd knows of.', one(cluster.machines.length)),
    counter(
      'penstock_cluster_events_lost_total',
      'Times that etcd had not delivered every event.',
      one(cluster.events_lost),
    ),
    ...(tickets
      ? [
          gauge(
            'penstock_ticket_master_age_seconds',
            'Since the shared masters of session tickets were rotated.',
            one(age),
          ),
        ]
      : []),
  ];
}

/** Process metrics under their usual names, per worker; the supervisor counts as one. */
export function processFamilies(processes: ReadonlyMap<string, ProcessUse>): Family[] {
  const each = (value: (use: ProcessUse) => number) =>
    [...processes].map(([worker, use]) => ({ labels: { worker }, value: value(use) }));
  return [
    counter(
      'process_cpu_seconds_total',
      'CPU time, user and system.',
      each((use) => use.cpuSeconds),
    ),
    gauge(
      'process_resident_memory_bytes',
      'Resident memory.',
      each((use) => use.residentBytes),
    ),
    gauge(
      'process_start_time_seconds',
      'When the process started.',
      each((use) => use.startedAt),
    ),
    gauge(
      'nodejs_heap_size_used_bytes',
      "Used bytes of V8's heap.",
      each((use) => use.heapBytes),
    ),
    gauge(
      'nodejs_active_resources',
      'What keeps the event loop going (sockets, timers, requests), by type; counted anew every 10 seconds.',
      [...processes].flatMap(([worker, { activeResources }]) =>
        [...activeResources].map(([type, value]) => ({ labels: { worker, type }, value })),
      ),
    ),
    counter(
      'penstock_worker_busy_seconds_total',
      'Time in which the event loop had something to do: 1 a second is all that a process can.',
      each((use) => use.busySeconds),
    ),
  ];
}

/** Which version is running. */
export function buildFamily(version: string, node: string): Family {
  return gauge('penstock_build_info', 'Always 1; the labels tell which version runs.', [
    { labels: { version, node }, value: 1 },
  ]);
}

/** One sample per set of labels, with its earliest date. */
function earliest(dates: readonly (readonly [Labels, Date])[]) {
  const first = new Map<string, { labels: Labels; value: number }>();
  for (const [labels, date] of dates) {
    const key = Object.values(labels).join();
    const value = date.getTime() / 1000;
    const known = first.get(key);
    if (known === undefined || value < known.value) first.set(key, { labels, value });
  }
  return [...first.values()];
}

/** The program of a worker process: it does what the supervisor says, and drains by itself when the supervisor is gone. */
import '../process/garbage-collector.ts';
import cluster from 'node:cluster';
import { Socket } from 'node:net';
import type { ListenerConfig } from '../config/schema/schema.ts';
import { unpackConfig } from '../config/transfer.ts';
import { deliverAll } from '../connection/cancel-request.ts';
import { createRecord } from '../connection/state.ts';
import { createChannel } from '../ipc/channel.ts';
import { createPatience } from '../ipc/patience.ts';
import { type LeasedQuota, leasedQuota, localQuota, type Quota } from '../ipc/quota.ts';
import {
  type AddressLimits,
  createAddressLimits,
  hasAddressLimits,
  type LocalAddressLimits,
  sharedAddressLimits,
} from '../listen/address-limits.ts';
import { dropReceived, receiveSocket } from '../listen/listener.ts';
import type { AccessRecord } from '../observe/access-log.ts';
import { type Log, openLog } from '../observe/log.ts';
import { createWorkerMetrics } from '../observe/metrics.ts';
import { takeSignals } from '../process/no-inspector.ts';
import { inSlices } from '../process/pacer.ts';
import { holdTicketMasters } from '../tls/server/ticket-masters.ts';
import { createUpstreamRegistry, type UpstreamRegistry } from '../upstream/registry.ts';
import {
  type BoundAddresses,
  limitName,
  type SentSocket,
  type SupervisorMethods,
  type WorkerMethods,
} from './methods.ts';
import { createWorker, describeStartFaults, type Prepared, type Worker } from './worker.ts';

let log: Log | undefined;
let worker: Worker | undefined;
let prepared: Prepared | undefined;
let tickets: ReturnType<typeof holdTicketMasters> | undefined;
let graceMs = 25_000;
/** The supervisor has its answer: nothing is open any more, and it disconnects. */
let drained = false;
const quotas = new Map<string, LeasedQuota>();
/** What they are limited to, for as long as the supervisor does not answer. */
const quotaLimits = new Map<string, number>();
const addressLimits = new Map<string, LocalAddressLimits>();
const patience = createPatience();
const metrics = createWorkerMetrics();
let upstreams: UpstreamRegistry | undefined;

/** What the supervisor tells all its workers may come while one of them starts. */
let begin = () => {};
const begun = new Promise<void>((resolve) => {
  begin = resolve;
});

const methods: WorkerMethods = {
  async start({ log: settings, ticketMasters, health, ejections }) {
    log = await openLog(settings);
    tickets = holdTicketMasters(ticketMasters);
    upstreams = createUpstreamRegistry({
      logger: log.logger,
      quota: (upstream, limit) => quotaFor(limitName.upstream(upstream), limit),
      onEjected: (ejection) => supervisor.tell('ejected', ejection),
    });
    upstreams.applyHealth(health);
    for (const ejection of ejections) upstreams.eject(ejection);
    worker = createWorker({
      logger: log.logger,
      ticketMasters: tickets,
      metrics,
      upstreams,
      connectionQuota: (listener, limit) => quotaFor(limitName.listener(listener), limit),
      addressLimits: addressLimitsOf,
      cancelElsewhere: async (listener, conn, client, message) =>
        patience.isSilent() ? 0 : supervisor.call('cancelElsewhere', { conn, listener, client, message }),
    });
    begin();
  },
  async prepare(packed) {
    try {
      graceMs = packed.config.shutdown.grace;
      prepared = await started().prepare(await inSlices(unpackConfig(packed)));
      return { ok: true };
    } catch (error) {
      return { ok: false, faults: describeStartFaults(error) };
    }
  },
  commit(): BoundAddresses {
    prepared?.commit();
    prepared = undefined;
    return Object.fromEntries(
      [...started().bound()].map(([name, bound]) => [name, bound.map((it) => it.address)]),
    );
  },
  async abort() {
    await prepared?.abort();
    prepared = undefined;
    dropReceived();
  },
  async reclaim(name) {
    // A grant that arrived just before, in the same read, is not booked yet: Node emits all messages before microtasks run.
    await new Promise((resolve) => setImmediate(resolve));
    return quotas.get(name)?.reclaim() ?? 0;
  },
  async cancel({ conn, listener: name, client, message }) {
    const listener = started().listener(name);
    if (listener === undefined) return 0;
    const record = createRecord(name, conn, client);
    const raw = { localAddress: undefined, localPort: undefined };
    return deliverAll({ raw, record, listener, clientCert: undefined }, Buffer.from(message));
  },
  setTicketMasters: (masters) => void begun.then(() => tickets?.replace(masters)),
  ping() {},
  snapshot: () => metrics.snapshot(recordsOf(started())),
  endpoints: (names) => upstreams?.endpoints(names) ?? [],
  applyHealth: (reports) => void begun.then(() => upstreams?.applyHealth(reports)),
  eject: (ejection) => void begun.then(() => upstreams?.eject(ejection)),
  reopenLog: () => void begun.then(() => log?.reopen()),
  setLogLevel: (level) =>
    void begun.then(() => {
      if (log) log.logger.level = level;
    }),
  async drain(grace) {
    const cut = await started().drain(grace);
    // The supervisor disconnects when it has the answer; then this process ends.
    drained = true;
    tellMetrics();
    return cut;
  },
};

const supervisor = createChannel<SupervisorMethods>((message) => {
  // The supervisor may be gone by now; 'disconnect' says what then.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}, methods);
process.on('message', (message, handle) => {
  if (handle instanceof Socket) receiveSocket((message as SentSocket).held, handle);
  else supervisor.receive(message);
});
supervisor.tell('hello');

// Before Node's own answer to it, which ends a worker at once whose supervisor is gone, and its connections with it.
cluster.worker?.once('disconnect', () => {
  supervisor.close();
  if (cluster.worker) cluster.worker.exitedAfterDisconnect = true;
  if (drained) return void exit();
  log?.logger.error({ grace_ms: graceMs }, 'the supervisor is gone: draining');
  void drainAndExit();
});
// The supervisor says what to do; a terminal's Ctrl-C reaches the whole process group.
takeSignals((signal) => {
  if (signal === 'SIGTERM') void drainAndExit();
});

/** For the case that it crashes: who asks gets the counts of that moment, and a crash loses those since the last time. */
setInterval(tellMetrics, 2000).unref();

function tellMetrics(): void {
  if (worker) supervisor.tell('metrics', metrics.snapshot(recordsOf(worker)));
}

function* recordsOf({ connections }: Worker): Iterable<AccessRecord> {
  for (const { record } of connections()) yield record;
}

async function drainAndExit(): Promise<void> {
  await worker?.drain(graceMs);
  await exit();
}

async function exit(): Promise<void> {
  const written = (await log?.close()) ?? true;
  if (written) process.exit(0);
  process.kill(process.pid, 'SIGKILL');
}

function quotaFor(name: string, limit: number): Quota {
  return limit === Number.POSITIVE_INFINITY ? localQuota(limit) : leased(name, limit);
}

function leased(name: string, limit: number): LeasedQuota {
  quotaLimits.set(name, limit);
  let quota = quotas.get(name);
  if (quota === undefined) {
    const lessor = {
      request: (wanted: number) => supervisor.call('lease', name, wanted),
      giveBack: (amount: number) => supervisor.tell('giveBack', name, amount),
      claim: (amount: number) => supervisor.tell('claim', name, amount),
    };
    quota = leasedQuota(lessor, () => quotaLimits.get(name) ?? limit, patience);
    quotas.set(name, quota);
  }
  return quota;
}

function addressLimitsOf(listener: string, limits: ListenerConfig['limits']): AddressLimits | undefined {
  if (!hasAddressLimits(limits)) return undefined;
  const own = addressLimits.get(listener) ?? createAddressLimits(limits);
  addressLimits.set(listener, own);
  own.setLimits(limits);
  const counter = {
    enter: (key: string) => supervisor.call('enterAddress', listener, key),
    leave: (key: string) => supervisor.tell('leaveAddress', listener, key),
  };
  return sharedAddressLimits(counter, own, patience);
}

function started(): Worker {
  if (worker === undefined) throw new Error('the worker was not started');
  return worker;
}

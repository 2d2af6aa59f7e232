/** The state of a configuration's endpoints, combined from health checks and each worker's view. */
import type { LoadedConfig } from '../config/load.ts';
import type { UpstreamConfig } from '../config/schema/schema.ts';
import type { EndpointStatus, UpstreamStatus } from '../observe/status.ts';
import { type Drain, isDrained } from '../upstream/drains.ts';
import { isTemplate } from '../upstream/endpoint.ts';
import { type EndpointReport, progressOf } from '../upstream/endpoint-state.ts';
import type { EndpointView } from '../upstream/registry.ts';

/**
 * Upstreams whose endpoints are known in advance: those without templates, for which clients choose the
 * names.
 */
export function listedUpstreams({ config }: Pick<LoadedConfig, 'config'>): string[] {
  return Object.entries(config.upstreams)
    .filter(([, { endpoints }]) => !endpoints.some(({ address }) => isTemplate(address)))
    .map(([name]) => name);
}

/**
 * The configured endpoints, those that health checks found behind their names, and those that still have
 * connections. `now` is when reports and views were made, in ms since 1970.
 */
export function describeUpstreams(
  { config }: LoadedConfig,
  reports: readonly EndpointReport[],
  views: readonly EndpointView[],
  drains: readonly Drain[] = [],
  now = Date.now(),
): UpstreamStatus[] {
  return Object.entries(config.upstreams).map(([name, upstream]) => {
    const checked = reports.filter((report) => report.upstream === name);
    const seen = views.filter((view) => view.upstream === name);
    return {
      name,
      drained: drains.some((it) => it.upstream === name && it.endpoint === undefined) || undefined,
      limit: finite(upstream.limits.connections),
      endpoints: labelsOf(upstream, checked, seen).map((label) =>
        describeEndpoint(label, upstream, {
          report: checked.find(({ endpoint }) => endpoint === label),
          views: seen.filter(({ endpoint }) => endpoint === label),
          drained: isDrained(drains, name, label) || undefined,
          now,
        }),
      ),
    };
  });
}

function labelsOf(
  { endpoints, resolve }: UpstreamConfig,
  checked: readonly EndpointReport[],
  seen: readonly EndpointView[],
): string[] {
  const configured = endpoints.map(({ address }) => address).filter((address) => !isTemplate(address));
  const inUse = seen.filter(({ active, warm }) => active + warm > 0).map(({ endpoint }) => endpoint);
  if (checked.length > 0) return [...new Set([...checked.map(({ endpoint }) => endpoint), ...inUse])];
  // A name stands for its addresses, which become known as they are used.
  if (resolve.each_address && inUse.length > 0) return [...new Set(inUse)];
  return [...new Set([...configured, ...inUse])];
}

type Known = {
  readonly report: EndpointReport | undefined;
  /** One from each worker that knows the endpoint. */
  readonly views: readonly EndpointView[];
  readonly drained: true | undefined;
  readonly now: number;
};

function describeEndpoint(label: string, config: UpstreamConfig, known: Known): EndpointStatus {
  const { report, views, drained, now } = known;
  const ago = (ms: number | undefined) =>
    ms === undefined || !Number.isFinite(ms) ? null : new Date(now - ms).toISOString();
  const common = {
    label,
    drained,
    active: views.reduce((total, view) => total + view.active, 0),
    warm: config.warm && views.reduce((total, view) => total + view.warm, 0),
    check_ms: report?.checkMs && Math.round(report.checkMs * 10) / 10,
  };
  if (report?.up === false) {
    return { ...common, state: 'down', since: ago(report.forMs), last_error: report.reason };
  }
  const failure = latestOf(views.flatMap(({ lastFailure }) => lastFailure ?? []));
  const errors = {
    last_error: report?.reason ?? failure?.reason,
    last_error_at: report?.reason === undefined ? (ago(failure?.agoMs) ?? undefined) : undefined,
    failing: (failure && views.every((view) => isBefore(view.lastSuccessAgoMs, failure.agoMs))) || undefined,
  };
  const resting = views.filter(({ state }) => state === 'ejected');
  if (resting.length > 0) {
    const restMs = Math.max(...resting.map((view) => view.restMs ?? 0));
    const since = ago(Math.max(...resting.map(({ forMs }) => forMs)));
    return { ...common, ...errors, state: 'ejected', since, until: new Date(now + restMs).toISOString() };
  }
  const forMs = Math.min(...views.map((view) => view.forMs), report?.forMs ?? Number.POSITIVE_INFINITY);
  const returned = views.some(({ state }) => state === 'returned');
  const share = returned ? progressOf(forMs, config.slow_start) : 1;
  if (share < 1) return { ...common, ...errors, state: 'slow_start', since: ago(forMs), share };
  return { ...common, ...errors, state: report ? 'up' : 'unchecked', since: ago(forMs) };
}

/** undefined for a limit that is off. */
export function finite(limit: number | undefined): number | undefined {
  return Number.isFinite(limit) ? limit : undefined;
}

function isBefore(agoMs: number | undefined, otherAgoMs: number): boolean {
  return agoMs === undefined || agoMs > otherAgoMs;
}

function latestOf(failures: readonly NonNullable<EndpointView['lastFailure']>[]) {
  return failures.toSorted((a, b) => a.agoMs - b.agoMs)[0];
}

/** What an operator should look at, from a status: for the head of the page and of `top`. */
import type { EndpointStatus, ListenerStatus, Status, UpstreamStatus, WorkerStatus } from './status.ts';

export type Problem = {
  /** `bad`: clients are refused, or will be within days. `warn`: look at it soon. */
  readonly severity: 'warn' | 'bad';
  readonly text: string;
};

/** Days before the end, as in the alerts of docs/operations.md. */
const limits = {
  certificate: { bad: 3, warn: 21 },
  authority: { bad: 7, warn: 60 },
  crl: { bad: 1, warn: 3 },
} as const;

type Known = Omit<Status, 'problems'>;

/** The worst come first. */
export function problemsOf(status: Known): Problem[] {
  const found = [
    ...readiness(status),
    ...status.listeners.flatMap(listenerProblems),
    ...status.upstreams.flatMap((upstream) => upstreamProblems(upstream, status)),
    ...expiries(status),
    ...lastReload(status),
    ...status.workers.flatMap(descriptors),
    ...cluster(status),
  ];
  return [
    ...found.filter(({ severity }) => severity === 'bad'),
    ...found.filter((it) => it.severity === 'warn'),
  ];
}

const bad = (text: string): Problem => ({ severity: 'bad', text });
const warn = (text: string): Problem => ({ severity: 'warn', text });

function readiness({ ready, draining }: Known): Problem[] {
  return ready || draining ? [] : [bad('no worker serves')];
}

function listenerProblems({ name, active, limit }: ListenerStatus): Problem[] {
  if (limit === undefined || active < 0.9 * limit) return [];
  const text = `listener ${name} has ${active} of at most ${limit} connections`;
  return [active >= limit ? bad(`${text}: further clients are refused`) : warn(text)];
}

function upstreamProblems(upstream: UpstreamStatus, { at }: Known): Problem[] {
  const { name, endpoints, drained } = upstream;
  const down = endpoints.filter(({ state }) => state === 'down' || state === 'ejected');
  const out = endpoints.filter((endpoint) => endpoint.drained);
  const problems: Problem[] = [];
  if (drained) problems.push(warn(`upstream ${name} is drained by an operator`));
  else if (out.length > 0) {
    problems.push(warn(`drained by an operator in ${name}: ${listed(out.map(({ label }) => label))}`));
  }
  problems.push(...full(upstream), ...failingDials(upstream, at));
  if (down.length === 0) return problems;
  const text = `${listed(down.map(({ label, state }) => `${label} is ${state}`))} in ${name}`;
  const isAll = down.length === endpoints.length;
  return [isAll ? bad(`upstream ${name} is down`) : warn(text), ...problems];
}

function full({ name, endpoints, limit }: UpstreamStatus): Problem[] {
  const active = endpoints.reduce((sum, endpoint) => sum + endpoint.active, 0);
  if (limit === undefined || active < limit) return [];
  return [warn(`upstream ${name} has all of its ${limit} connections: further clients wait or are refused`)];
}

/** For as long the last failure is taken for what would happen now. */
const freshMs = 5 * 60_000;

/** What neither a health check nor `outlier` takes out, although no client gets through. */
function failingDials({ name, endpoints }: UpstreamStatus, at: string): Problem[] {
  const isFresh = ({ failing, last_error_at: then = '', state }: EndpointStatus) =>
    failing && state !== 'down' && state !== 'ejected' && Date.parse(at) - Date.parse(then) < freshMs;
  const found = endpoints.filter(isFresh);
  const [first] = found;
  if (first === undefined) return [];
  const why = first.last_error ?? '';
  if (found.length === endpoints.length) return [bad(`no connection to upstream ${name} succeeds: ${why}`)];
  return [warn(`no connection to ${listed(found.map(({ label }) => label))} in ${name} succeeds: ${why}`)];
}

function expiries({ certificates, authorities }: Known): Problem[] {
  const ends = [
    ...certificates.map(({ name, days_left: days }) => ({ kind: 'certificate' as const, name, days })),
    ...authorities.map(({ name, days_left: days }) => ({ kind: 'authority' as const, name, days })),
    ...authorities.flatMap(({ name, crl_days_left: days }) =>
      days === null ? [] : [{ kind: 'crl' as const, name, days }],
    ),
  ];
  return ends.flatMap(({ kind, name, days }) => {
    const what = kind === 'crl' ? `the revocation list of ${name}` : `${kind} ${name}`;
    if (days < 0) return [bad(`${what} has expired`)];
    if (days >= limits[kind].warn) return [];
    const text = `${what} expires ${days === 0 ? 'today' : `in ${days} day${days === 1 ? '' : 's'}`}`;
    return [days < limits[kind].bad ? bad(text) : warn(text)];
  });
}

function lastReload({ last_reload: last }: Known): Problem[] {
  return last === null || last.ok ? [] : [warn(`the last reload failed: ${last.faults[0] ?? ''}`)];
}

function descriptors({ id, descriptors: count }: WorkerStatus): Problem[] {
  if (count === undefined || count.used < 0.8 * count.capacity) return [];
  const text = `worker ${id} uses ${count.used} of ${count.capacity} file descriptors`;
  return [count.used >= 0.95 * count.capacity ? bad(text) : warn(text)];
}

function cluster({ cluster: state }: Known): Problem[] {
  if (state === undefined) return [];
  return [
    ...(state.alarm === null ? [] : [bad(`cluster: ${state.alarm}`)]),
    ...(state.connected
      ? []
      : [warn(`cluster: etcd is not followed${state.fault ? `: ${state.fault}` : ''}`)]),
    ...(state.held.length === 0 ? [] : [warn(`cluster: ${state.held.length} faulty objects are held back`)]),
  ];
}

function listed(texts: readonly string[]): string {
  const shown = texts.slice(0, 3).join(', ');
  return texts.length > 3 ? `${shown} and ${texts.length - 3} more` : shown;
}

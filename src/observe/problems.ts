/** What an operator should look at, from a status: for the head of the page and of `top`. */
import type { Status, UpstreamStatus, WorkerStatus } from './status.ts';

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
    ...status.upstreams.flatMap(upstreamProblems),
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

function upstreamProblems({ name, endpoints, drained }: UpstreamStatus): Problem[] {
  const down = endpoints.filter(({ state }) => state === 'down' || state === 'ejected');
  const out = endpoints.filter((endpoint) => endpoint.drained);
  const problems: Problem[] = [];
  if (drained) problems.push(warn(`upstream ${name} is drained by an operator`));
  else if (out.length > 0) {
    problems.push(warn(`drained by an operator in ${name}: ${listed(out.map(({ label }) => label))}`));
  }
  if (down.length === 0) return problems;
  const text = `${listed(down.map(({ label, state }) => `${label} is ${state}`))} in ${name}`;
  const isAll = down.length === endpoints.length;
  return [isAll ? bad(`upstream ${name} is down`) : warn(text), ...problems];
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

/** Compares what happens to a client with what a case expects. */
import type { Explanation } from '../explain/explanation.ts';
import { whyNone } from '../explain/reasons.ts';
import type { Case } from './cases.ts';
import type { Expectation } from './schema.ts';

/** An explanation in terms of the keys of `expect`. `none` means absent. */
export type Facts = Record<keyof Expectation, string | readonly string[]>;

/** A failed expectation. `key` is undefined if the case says too little to decide. */
export type Miss = {
  readonly key: keyof Expectation | undefined;
  readonly line: number;
  readonly column: number;
  readonly expected: string | null;
  readonly actual: string | null;
  /** The reason; null if there is nothing more to say. */
  readonly why: string | null;
};

export type CaseOutcome = {
  readonly name: string;
  readonly listener: string;
  readonly line: number;
  readonly column: number;
  readonly facts: Facts;
  readonly misses: readonly Miss[];
};

/**
 * Compares them. If the explanation depends on something that the case does not state, that is a failure too.
 */
export function judge({ name, listener, expect, place }: Case, explanation: Explanation): CaseOutcome {
  const facts = factsOf(explanation);
  const { line, column } = place();
  const misses: Miss[] = explanation.undecided.map((unsaid) => {
    const why = `it depends on \`${unsaid}\`, which the case does not say`;
    return { key: undefined, line, column, expected: null, actual: null, why };
  });
  for (const [key, expected] of Object.entries(expect) as [
    keyof Expectation,
    Expectation[keyof Expectation],
  ][]) {
    const [wanted, found] = [textOf(expected), textOf(facts[key])];
    if (expected === undefined || wanted === found) continue;
    const at = place(key);
    const why = whyNot(key, wanted, explanation);
    misses.push({ key, line: at.line, column: at.column, expected: wanted, actual: found, why });
  }
  return { name, listener, line, column, facts, misses };
}

function textOf(value: string | readonly string[] | undefined): string {
  return typeof value === 'object' ? value.join(', ') : String(value);
}

const none = 'none';

function factsOf({ code, taken, tls, upstream }: Explanation): Facts {
  const endpoints = upstream?.endpoints.flatMap(({ endpoint }) => endpoint ?? []) ?? [];
  const names = new Set(upstream?.endpoints.flatMap(({ sni }) => sni ?? []));
  const verify = upstream?.tls?.verify;
  return {
    code: code ?? none,
    route: taken?.route ?? none,
    action: taken?.action ?? none,
    tls: tls?.version ?? none,
    alpn: tls?.alpn.agreed ?? none,
    certificate: tls?.certificate.name ?? none,
    client_auth: tls?.client_auth?.mode ?? none,
    upstream: upstream?.name ?? none,
    endpoints: endpoints.length > 0 ? endpoints : none,
    upstream_tls: verify === 'none' ? 'unverified' : (verify ?? none),
    upstream_sni: names.size > 0 ? [...names] : none,
    upstream_certificate: upstream?.tls?.certificate?.name ?? none,
    proxy_protocol: upstream?.proxy_header?.version ?? none,
  };
}

/** Why the expected route is not taken, or why the client is not served. */
function whyNot(key: keyof Expectation, expected: string, explanation: Explanation): string | null {
  const { routes, code, error, admission, client } = explanation;
  if (key === 'route' && expected !== none && routes.length > 0) {
    const route = routes.find(({ route }) => route === expected);
    return route ? `route ${route.route} is not taken: ${route.why}` : `there is no route ${expected}`;
  }
  switch (code) {
    case null:
      return null;
    case 'ERR_ADDRESS_DENIED':
      return admission.why;
    case 'ERR_NO_ROUTE':
      return whyNone(routes, client);
    default:
      return error;
  }
}

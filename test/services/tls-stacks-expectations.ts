/** What each TLS stack should see of penstock, what penstock should log of it, and what falls short of that. */
import { type Case, cases, type Stack, type Version } from './tls-stacks.ts';

export type Expected = {
  /** A word for each connection, as the client says. */
  readonly seen: readonly string[];
  /** A word for each, as the access log says. */
  readonly logged: readonly (string | RegExp)[];
  /** How each that reached the upstream ended there. */
  readonly upstream: readonly string[];
  /** In the table of docs/testing.md. */
  readonly cell: string;
};

/** The right values, for every stack. */
export function expected(what: Case, version: Version): Expected {
  const [full, resumed] = [`TLSv${version} full`, `TLSv${version} resumed`];
  const refused = { upstream: [] };
  switch (what) {
    case 'full':
    case 'retry':
      return served([full], what === 'full' ? 'served' : 'served after it');
    case 'resumed':
      return served([full, resumed, resumed, resumed], '3 of 3');
    case 'certificate':
      return served([full, resumed], 'served, then resumed');
    case 'key update':
      return { ...served([full], 'both ways'), upstream: ['131072 bytes, an end'] };
    case 'stranger': {
      // Node has no way to send an alert of one's own under TLS 1.2.
      const seen = version === '1.3' ? 'unknown_ca' : 'closed';
      const cell = version === '1.3' ? '`unknown_ca`' : 'closed, no alert';
      return { ...refused, seen: [seen], logged: [`${full}, ERR_CLIENT_CERT_UNTRUSTED`], cell };
    }
    case 'nobody': {
      const seen = version === '1.3' ? 'certificate_required' : 'handshake_failure';
      return { ...refused, seen: [seen], logged: ['ERR_CLIENT_CERT_REQUIRED'], cell: `\`${seen}\`` };
    }
    case 'reset':
      return {
        seen: [`${full}, reset`],
        // It may meet the end of the handshake.
        logged: [/ERR_CLIENT_(RESET|CLOSED)$/],
        upstream: ['a reset, or nothing'],
        cell: 'never an end',
      };
  }
}

/** What does not concern a stack, and why: the words of the table. */
export function notFor(stack: Stack, what: Case, version: Version): string | undefined {
  if (version === '1.2' && (what === 'retry' || what === 'key update')) return 'not in TLS 1.2';
  return stack.lacks?.[version] ?? stack.cannot[what];
}

type Shortfall = Partial<Expected> & {
  readonly stack: string;
  readonly version: Version;
  readonly what: Case;
  readonly cell: string;
  readonly because: string;
};

/** All that falls short of the right values. What is seen must be this exactly: when it is mended, its entry has to go. */
const shortfalls: readonly Shortfall[] = [
  {
    ...fullOnly('1.2', 4),
    ...{ stack: 'Erlang', version: '1.2', what: 'resumed', cell: 'never: it knows no tickets' },
    because: 'its ssl knows session ids only, and penstock, whose workers share no sessions, tickets only',
  },
  {
    ...fullOnly('1.2', 2),
    ...{ stack: 'Erlang', version: '1.2', what: 'certificate', cell: 'served, not resumed' },
    because: 'the same',
  },
];

/** What is to be seen of a stack today. */
export function today(stack: Stack, what: Case, version: Version): Expected {
  const shortfall = shortfalls.find(
    (it) => it.stack === stack.name && it.what === what && it.version === version,
  );
  return { ...expected(what, version), ...shortfall };
}

function fullOnly(version: Version, connections: number): Expected {
  return served(Array<string>(connections).fill(`TLSv${version} full`), 'served');
}

function served(handshakes: readonly string[], cell: string): Expected {
  return { seen: handshakes, logged: handshakes, upstream: handshakes.map(() => '100 bytes, an end'), cell };
}

const headings: Readonly<Record<Case, string>> = {
  full: 'full',
  resumed: 'resumed',
  certificate: 'client certificate',
  stranger: 'of another CA',
  nobody: 'without one',
  retry: 'HelloRetryRequest',
  'key update': 'KeyUpdate',
  reset: 'a reset, upstream',
};

export const heading = `| stack | TLS | ${cases.map((what) => headings[what]).join(' | ')} |`;

/** A line of the table. */
export function row(stack: Stack, installed: string, version: Version): string {
  const cells = cases.map((what) => notFor(stack, what, version) ?? today(stack, what, version).cell);
  if (stack.lacks?.[version] !== undefined) cells.fill('–', 1);
  return `| ${stack.name} ${installed} | ${version} | ${cells.join(' | ')} |`;
}

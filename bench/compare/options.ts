/** The command line of `npm run bench:compare`. */
import { parseArgs } from 'node:util';
import { type PeerSpec, parsePeer, usualKinds } from './peers.ts';
import { chooseWorkloads, type Workload } from './workloads.ts';

export type Options = {
  readonly peers: readonly PeerSpec[];
  readonly baseline: string;
  readonly workloads: readonly Workload[];
  readonly rounds: number;
  /** Share of each workload's connections. */
  readonly share: number;
  readonly pin: boolean;
  readonly scaling: boolean;
  /** Only the part of it that changes one of many objects. */
  readonly changes: boolean;
  readonly writeReadme: boolean;
  /** All known peers beside HAProxy, all workloads, nothing shortened: it may replace the latest results. */
  readonly whole: boolean;
};

export const usage = `npm run bench:compare -- [OPTIONS]

  --only A,B            these workloads only
  --peers A,B           these peers only (${usualKinds.join(', ')}, and those of --peer)
  --peer NAME=KIND[:PATH][?OPTION=VALUE&…]
                        one more peer, as often as you like: a binary, or for penstock a checkout or dist/main.js;
                        \`bare\`, a relay of some lines for what Node itself costs, takes the Node to run it on;
                        \`direct\`: no proxy, but PostgreSQL's own TLS, for the workload \`pgbench\`.
                        Options of penstock: node=PROGRAM, flags=A,B, access=off, admin=off, dial=early, warm=N; of all: preload=LIBRARY
  --penstock PATH       the checkout or dist/main.js of the peer "penstock"; default: this checkout
  --baseline NAME       what ratios are to (haproxy)
  --rounds N            rounds that count (7)
  --quick               one round of few connections: shows that everything works, measures nothing
  --no-pin              do not hold peers to core 0 and load generator and upstreams to core 1
  --write-readme        put the table into README.md
  --scaling             instead: penstock alone by workers, open connections and names; changes beside HAProxy
  --changes             only the last: one of 100,000 routes changes, one of 10,000 certificates
`;

/** Parses the command line. Throws with what is wrong; undefined if help was asked for. */
export function parseOptions(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      peers: { type: 'string' },
      peer: { type: 'string', multiple: true, default: [] },
      penstock: { type: 'string' },
      baseline: { type: 'string' },
      rounds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      'no-pin': { type: 'boolean', default: false },
      'write-readme': { type: 'boolean', default: false },
      scaling: { type: 'boolean', default: false },
      changes: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const rounds = Number(values.rounds ?? (values.quick ? 1 : 7));
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) throw new Error('--rounds takes 1 to 100');
  const peers = choosePeers(values.peers?.split(','), values.peer.map(parsePeer), values.penstock);
  const baseline = values.baseline ?? 'haproxy';
  if (values.baseline !== undefined && !peers.some(({ name }) => name === baseline)) {
    throw new Error(
      `the baseline "${baseline}" is none of the peers: ${peers.map(({ name }) => name).join(', ')}`,
    );
  }
  return {
    peers,
    baseline,
    workloads: chooseWorkloads(values.only?.split(',')),
    rounds,
    share: values.quick ? 0.03 : 1,
    pin: !values['no-pin'],
    scaling: values.scaling,
    changes: values.changes,
    writeReadme: values['write-readme'],
    whole:
      [values.only, values.peers, values.baseline].every((value) => value === undefined) &&
      !values.quick &&
      rounds >= 5,
  };
}

/** Those that are known, with `added` in the place of those of the same name; of these the `chosen`. */
function choosePeers(
  chosen: readonly string[] | undefined,
  added: readonly PeerSpec[],
  penstock: string | undefined,
): PeerSpec[] {
  const usual = usualKinds.map((kind) =>
    parsePeer(kind === 'penstock' && penstock ? `penstock:${penstock}` : kind),
  );
  const all = new Map([...usual, ...added].map((peer) => [peer.name, peer]));
  const names = new Set([...(chosen ?? all.keys()), ...added.map(({ name }) => name)]);
  return [...names].map((name) => {
    const peer = all.get(name);
    if (peer === undefined)
      throw new Error(`there is no peer "${name}"; there are ${[...all.keys()].join(', ')}`);
    return peer;
  });
}

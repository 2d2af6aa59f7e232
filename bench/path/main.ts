/**
 * What Node and the kernel make for a connection, from accept to close, counted: `npm run bench:path`. Counts do not depend on the
 * machine, so some lines of a change that cost every connection something show here, where time would hide them.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { betweenMarkers } from '../compare/markdown.ts';
import { checkout } from '../compare/peers.ts';
import { type Ground, prepareGround, stopPeer } from '../compare/site.ts';
import { breakDown } from './breakdown.ts';
import { overruns, readBudget, savings, updated, writeBudget } from './budget.ts';
import { chooseKinds, type Kind } from './kinds.ts';
import { lowerOf, type Measured, measure } from './measure.ts';
import { type RelayName, type Remote, relays, startCounted } from './remote.ts';
import { tableOf } from './table.ts';

const usage = `npm run bench:path -- [OPTIONS]

  --check            compare penstock with its budget; exits with 1 if a count is over it
  --update           write what penstock takes now as its budget
  --write-docs       put the table into docs/performance.md
  --breakdown        instead: what makes most of the counts, by stack
  --relay NAME       with --breakdown: ${relays.join(' or ')} (penstock)
  --top N            with --breakdown: lines of each list (25)
  --only A,B         these kinds of connections only
  --connections N    that are counted (100)
  --warm-up N        that come before (100); V8 optimises what has run often, and allocates less then
  --budget FILE      another budget than bench/path/budget.json
`;

// `process.exit` runs what ends the processes that were started and removes their files.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));

const { values } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    update: { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
    breakdown: { type: 'boolean', default: false },
    relay: { type: 'string', default: 'penstock' },
    top: { type: 'string', default: '25' },
    only: { type: 'string' },
    connections: { type: 'string', default: '100' },
    'warm-up': { type: 'string', default: '100' },
    budget: { type: 'string', default: join(import.meta.dirname, 'budget.json') },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
const kinds = chooseKinds(values.only?.split(','));
const plan = {
  kinds,
  connections: Number(values.connections),
  warmUp: Number(values['warm-up']),
  onMissing: tell,
};

process.exit(await main());

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  const ground = await prepareGround(relays, { peers: undefined, load: undefined });
  if (values.breakdown) return printBreakdown(ground);
  if (values.check) return check(ground);
  const penstock = await counted('penstock', ground, kinds);
  if (values.update) {
    writeBudget(values.budget, updated(readBudget(values.budget), penstock));
    tell(`${values.budget} is written`);
    return 0;
  }
  const bare = await counted('bare', ground, kinds);
  process.stdout.write(`penstock / bare relay\n\n${tableOf(kinds, [penstock, bare], true)}\n`);
  if (values['write-docs']) {
    const page = join(checkout, 'docs/performance.md');
    const table = tableOf(kinds, [penstock, bare], false);
    writeFileSync(page, betweenMarkers(readFileSync(page, 'utf8'), table));
  }
  return 0;
}

async function counted(name: RelayName, ground: Ground, those: readonly Kind[]): Promise<Measured> {
  return withRelay(name, ground, (remote) => measure(remote, { ...plan, kinds: those }));
}

async function printBreakdown(ground: Ground): Promise<number> {
  const name = relays.find((relay) => relay === values.relay);
  if (name === undefined)
    throw new Error(`there is no relay "${values.relay}"; there are ${relays.join(', ')}`);
  const top = Number(values.top);
  const text = await withRelay(name, ground, (remote) => breakDown(remote, { ...plan, top }));
  process.stdout.write(text);
  return 0;
}

async function withRelay<T>(
  name: RelayName,
  ground: Ground,
  work: (remote: Remote) => Promise<T>,
): Promise<T> {
  const remote = await startCounted(name, ground);
  try {
    return await work(remote);
  } finally {
    await stopPeer(remote.running);
  }
}

/** What is over its budget is counted again: on a machine with much else to do, timers run more often while connections last. */
async function check(ground: Ground): Promise<number> {
  const budget = readBudget(values.budget);
  const first = await counted('penstock', ground, kinds);
  for (const line of savings(budget, first)) tell(line);
  const suspects = kinds.filter(({ id }) =>
    overruns(budget, first).some((line) => line.startsWith(`${id}:`)),
  );
  const second = suspects.length > 0 ? await counted('penstock', ground, suspects) : new Map();
  const over = overruns(budget, lowerOf(first, second));
  for (const line of over) tell(line);
  if (over.length === 0) {
    tell(`${first.size} kinds of connections are within their budgets`);
    return 0;
  }
  tell(
    '\nA connection takes more than its budget. What takes it: npm run bench:path -- --breakdown --only KIND\n' +
      'If it is worth it: npm run bench:path -- --update, and say in the commit what it buys.',
  );
  return 1;
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}

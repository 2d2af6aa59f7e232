/** What the figures of one kind of connection are made of: the stacks that make most, with how many for a connection. */
import type { Counts, InstrumentName } from './instruments.ts';
import type { Kind } from './kinds.ts';
import { prepareLoad, warmUp } from './load.ts';
import type { Remote } from './remote.ts';

const groups = ['PROMISE', 'TickObject', 'Timeout', 'rearm', 'Immediate', 'listener'] as const;
/** Stacks that come less often were not made by connections. */
const leastEach = 0.05;

type Plan = {
  readonly kinds: readonly Kind[];
  readonly connections: number;
  readonly warmUp: number;
  /** Lines of each list. */
  readonly top: number;
};

/** Markdown: a section for each kind. */
export async function breakDown(remote: Remote, plan: Plan): Promise<string> {
  const { kinds, connections, top } = plan;
  const { site } = remote.running;
  await warmUp(plan.warmUp, site);
  const count = async (instrument: InstrumentName) => {
    const counts: Counts[] = [];
    for (const { workload } of kinds) {
      counts.push(await remote.count(instrument, await prepareLoad(workload, connections, site)));
    }
    return counts;
  };
  // In this order: V8 makes more objects for promises once somebody has looked at them.
  const sites = await count('allocations');
  const stacks = await count('stacks');
  const linesOf = (counts: Counts = {}) =>
    Object.entries(counts)
      .map(([key, sum]) => ({ key, count: sum / connections }))
      .sort((one, other) => other.count - one.count);
  return kinds
    .flatMap(({ title }, index) => [
      `## ${title}`,
      ...sectionsOfStacks(linesOf(stacks[index]), top),
      section(
        'bytes, by our own function, with what it calls of Node',
        linesOf(grouped(sites[index]!, 0)),
        top,
        0,
      ),
      section('bytes, by stack', linesOf(grouped(sites[index]!, 1)), top, 0),
      '',
    ])
    .join('\n\n');
}

function sectionsOfStacks(lines: readonly Line[], top: number): string[] {
  const made = lines.filter(({ count }) => count >= leastEach);
  return groups.map((group) =>
    section(
      group,
      made.filter(({ key }) => key.startsWith(`${group} `)),
      top,
      1,
    ),
  );
}

/** Sums by one part of the keys, whose parts tabs separate. */
function grouped(counts: Counts, part: number): Counts {
  const sums: Record<string, number> = {};
  for (const [key, count] of Object.entries(counts)) {
    const group = key.split('\t')[part] ?? '';
    sums[group] = (sums[group] ?? 0) + count;
  }
  return sums;
}

type Line = { readonly key: string; readonly count: number };

function section(name: string, lines: readonly Line[], top: number, digits: number): string {
  const total = lines.reduce((sum, { count }) => sum + count, 0);
  const shown = lines
    .slice(0, top)
    .map(
      ({ key, count }) =>
        `${count.toFixed(digits).padStart(8)}  ${key.replace(/^\S+ ?(.*)\t/, '$1 ').trim()}`,
    );
  const rest = lines.length > top ? [`     ...  and ${lines.length - top} more`] : [];
  return [
    `### ${name}: ${total.toFixed(digits)} in ${lines.length} places`,
    '```',
    ...shown,
    ...rest,
    '```',
  ].join('\n');
}

/** What the figures of one kind of connection are made of: the stacks that make most, with how many for a connection. */
import type { Counts } from './instruments.ts';
import type { Kind } from './kinds.ts';
import { prepareLoad } from './load.ts';
import type { Remote } from './remote.ts';

const groups = ['PROMISE', 'TickObject', 'Timeout', 'rearm', 'Immediate', 'listener'] as const;
/** Stacks that come less often were not made by connections. */
const leastEach = 0.05;

/** Markdown. `top` lines of each group. */
export async function breakDown(
  remote: Remote,
  { workload, title }: Kind,
  { connections, warmUp, top }: { connections: number; warmUp: number; top: number },
): Promise<string> {
  const { site } = remote.running;
  const load = () => prepareLoad(workload, connections, site);
  await (await prepareLoad(workload, warmUp, site))();
  const bytes = await remote.count('allocations', await load());
  const stacks = await remote.count('stacks', await load());
  const each = (counts: Counts) =>
    Object.entries(counts)
      .map(([key, count]) => ({ key, count: count / connections }))
      .sort((one, other) => other.count - one.count);
  const made = each(stacks).filter(({ count }) => count >= leastEach);
  const sections = groups.map((group) =>
    section(
      group,
      made.filter(({ key }) => key.startsWith(`${group} `)),
      top,
      1,
    ),
  );
  return [`## ${title}`, ...sections, section('bytes allocated', each(bytes), top, 0), ''].join('\n\n');
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

/** The most that a connection of each kind may cost, in counts that do not depend on the machine: budget.json. */
import { readFileSync, writeFileSync } from 'node:fs';
import { detail, type Measured } from './measure.ts';
import { figure, rounded } from './table.ts';

/** By kind, by count. */
export type Budget = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What may come on top: timers of the process itself, such as that of the log, run meanwhile. */
const allowance = 0.5;
/** How many writes the log takes, and how many reads find nothing yet, depends on the time that a connection takes. */
const allowances: Readonly<Record<string, number>> = { system_calls: 2 };
/** How far V8 has optimised the code changes what it allocates. */
const shares: Readonly<Record<string, number>> = { heap_objects: 0.1, heap_bytes: 0.1 };
/** Different in each run. */
const unbudgeted = ['event_waits'];

/** One line for each count that is over its budget, and for each kind that has none. Compares what both have. */
export function overruns(budget: Budget, measured: Measured): string[] {
  const without = [...measured.keys()].filter((kind) => budget[kind] === undefined);
  const over = compare(budget, measured).filter(({ name, was, is }) => is > was + allowanceOf(name, was));
  return [
    ...without.map((kind) => `${kind}: it has no budget yet`),
    ...over.map(
      ({ kind, name, was, is }) =>
        `${kind}: ${name} is ${figure(name, is)}, its budget ${figure(name, was)} (+${figure(name, is - was)})`,
    ),
  ];
}

/** Where the budget could be lower. */
export function savings(budget: Budget, measured: Measured): string[] {
  return compare(budget, measured)
    .filter(({ name, was, is }) => is < was - allowanceOf(name, was))
    .map(
      ({ kind, name, was, is }) =>
        `${kind}: ${name} is ${figure(name, is)}, less than its budget of ${figure(name, was)}`,
    );
}

/** The measured counts in the place of those of the budget; what was not measured stays. */
export function updated(budget: Budget, measured: Measured): Budget {
  const kinds = [...measured].map(([kind, counts]) => {
    const own = Object.entries(counts).filter(
      ([name]) => !name.startsWith(detail) && !unbudgeted.includes(name),
    );
    const figures = own.map(([name, count]) => [name, rounded(name, count)]);
    return [kind, { ...budget[kind], ...Object.fromEntries(figures) }] as const;
  });
  return { ...budget, ...Object.fromEntries(kinds) };
}

export function readBudget(file: string): Budget {
  return JSON.parse(readFileSync(file, 'utf8')) as Budget;
}

export function writeBudget(file: string, budget: Budget): void {
  writeFileSync(file, `${JSON.stringify(budget, null, 2)}\n`);
}

function compare(budget: Budget, measured: Measured) {
  return [...measured].flatMap(([kind, counts]) =>
    Object.entries(budget[kind] ?? {}).flatMap(([name, was]) => {
      const is = counts[name];
      return is === undefined ? [] : [{ kind, name, was, is }];
    }),
  );
}

function allowanceOf(name: string, count: number): number {
  return Math.max(allowances[name] ?? allowance, count * (shares[name] ?? 0));
}

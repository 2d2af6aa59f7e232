/** The most that a connection of each kind may cost, in counts that do not depend on the machine: budget.json. */
import { readFileSync, writeFileSync } from 'node:fs';
import { detail, type Measured } from './measure.ts';
import { figure } from './table.ts';

/** By kind, by count. */
export type Budget = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** What may come on top: most counts differ from run to run by what timers of the process itself do meanwhile. */
const allowance = 0.3;
/** How far V8 has optimised the code changes what it allocates. */
const byteShare = 0.05;

/** Compares what both have. One line for each count that is over its budget. */
export function overruns(budget: Budget, measured: Measured): string[] {
  return compare(budget, measured).flatMap(({ kind, name, was, is }) =>
    is > was + allowanceOf(name, was)
      ? [
          `${kind}: ${name} is ${figure(name, is)}, its budget ${figure(name, was)} (${signed(name, is - was)})`,
        ]
      : [],
  );
}

/** Where the budget could be lower. */
export function savings(budget: Budget, measured: Measured): string[] {
  return compare(budget, measured).flatMap(({ kind, name, was, is }) =>
    is < was - allowanceOf(name, was)
      ? [`${kind}: ${name} is ${figure(name, is)}, less than its budget of ${figure(name, was)}`]
      : [],
  );
}

/** The measured counts in the place of those of the budget; what was not measured stays. */
export function updated(budget: Budget, measured: Measured): Budget {
  const kinds = [...measured].map(([kind, counts]) => {
    const own = Object.entries(counts).filter(([name]) => !name.startsWith(detail));
    const rounded = own.map(([name, count]) => [
      name,
      name === 'heap_bytes' ? Math.round(count) : Math.round(count * 10) / 10,
    ]);
    return [kind, { ...budget[kind], ...Object.fromEntries(rounded) }] as const;
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
  return name === 'heap_bytes' ? count * byteShare : allowance;
}

function signed(name: string, difference: number): string {
  return `+${figure(name, difference)}`;
}

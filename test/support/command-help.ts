/** What a command of penstock takes, as its own `--help` tells it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { penstockMain } from './penstock.ts';

export type Usage = {
  readonly name: string;
  /** Positional arguments: at least and at most. */
  readonly least: number;
  readonly most: number;
  /** How many values each flag takes. */
  readonly flags: ReadonlyMap<string, 'none' | 'one' | 'many'>;
  readonly subcommands: ReadonlySet<string>;
};

const asked = new Map<string, Promise<Usage>>();

/** Asks once for each command; `path` is empty for penstock itself, else such as `['pki', 'issue']`. */
export function usageOf(path: readonly string[]): Promise<Usage> {
  const name = ['penstock', ...path].join(' ');
  const usage = asked.get(name) ?? ask(name, path);
  asked.set(name, usage);
  return usage;
}

/** What is wrong with `penstock WORDS…`; undefined: it would be understood. With `loose` arguments may be missing. */
export async function misuse(words: readonly string[], loose: boolean): Promise<string | undefined> {
  const path: string[] = [];
  let usage = await usageOf(path);
  let rest = [...words];
  while (rest[0] !== undefined && usage.subcommands.has(rest[0])) {
    path.push(rest[0]);
    usage = await usageOf(path);
    rest = rest.slice(1);
  }
  if (usage.subcommands.size > 0 && rest[0] !== undefined && !rest[0].startsWith('-'))
    return `${usage.name} has no command ${rest[0]}`;
  return wrongWords(usage, rest, loose);
}

function wrongWords(usage: Usage, words: readonly string[], loose: boolean): string | undefined {
  let positional = 0;
  let values: 'none' | 'one' | 'many' = 'none';
  for (const word of words) {
    const [flag = '', value] = word.split('=', 2);
    if (/^--?[a-z]/i.test(word)) {
      const takes = usage.flags.get(flag);
      if (takes === undefined) return `${usage.name} has no ${flag}`;
      values = value === undefined || !word.startsWith('--') ? takes : 'none';
    } else if (values === 'none') positional += 1;
    else if (values === 'one') values = 'none';
  }
  if (values === 'one' && !loose) return `${usage.name}: the last flag has no value`;
  if (positional > usage.most) return `${usage.name} takes ${usage.most} arguments, not ${positional}`;
  if (positional < usage.least && !loose)
    return `${usage.name} needs ${usage.least} arguments, not ${positional}`;
  return undefined;
}

async function ask(name: string, path: readonly string[]): Promise<Usage> {
  const { stdout } = await promisify(execFile)(process.execPath, [penstockMain, ...path, '--help']);
  const [synopsis = ''] = stdout.split('\n');
  const of = synopsis.replace(/\[options\]|\[command\]/g, '').matchAll(/([<[])[^\]>]+?(\.\.\.)?[\]>]/g);
  const positionals = [...of].map(([, bracket, dots]) => ({
    required: bracket === '<',
    many: dots !== undefined,
  }));
  const flags = stdout.matchAll(/^ {2}(?:(-\w), )?(--[\w-]+)(?: ([<[][^\]>]+[\]>]))?/gm);
  return {
    name,
    least: positionals.filter(({ required }) => required).length,
    most: positionals.some(({ many }) => many) ? Number.POSITIVE_INFINITY : positionals.length,
    flags: new Map(
      [...flags].flatMap(([, short, long = '', value]) => {
        const takes = value === undefined ? 'none' : value.includes('...') ? 'many' : 'one';
        return [short, long].filter((flag) => flag !== undefined).map((flag) => [flag, takes] as const);
      }),
    ),
    subcommands: subcommandsOf(stdout),
  };
}

function subcommandsOf(help: string): ReadonlySet<string> {
  const [, list = ''] = help.split(/^Commands:$/m);
  return new Set([...list.matchAll(/^ {2}([a-z][\w-]*)/gm)].map(([, command = '']) => command));
}
